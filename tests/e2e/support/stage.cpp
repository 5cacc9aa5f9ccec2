#include "e2e/support/stage.hpp"

#include "messaging/kafka_producer.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <unistd.h>

namespace ziyu::e2e {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

constexpr auto kafka_limit = 30'000ms;

std::string unique_prefix() {
  static auto number = 0;
  return "t" + std::to_string(::getpid()) + "." + std::to_string(++number) + ".";
}

} // namespace

std::filesystem::path source_file(const std::string& relative) {
  return std::filesystem::path{test::source_dir()} / relative;
}

const std::vector<digit>& digits() {
  static const auto all = [] {
    std::vector<std::string> labels;
    std::istringstream lines{must(read_file(source_file("models/digits/1/labels.txt")))};
    for (std::string line; std::getline(lines, line);)
      labels.push_back(line);
    const auto truth = json::parse(must(read_file(source_file("tests/data/digits/labels.json"))));
    std::vector<digit> found;
    for (const auto& [name, index] : truth.items())
      found.push_back({name, must(read_file(source_file("tests/data/digits/" + name))),
                       labels.at(index.get<size_t>())});
    return found;
  }();
  return all;
}

messaging::outgoing job_record(std::optional<std::string> key, std::optional<std::string> value,
                               messaging::header_list headers) {
  messaging::outgoing x;
  x.key = std::move(key);
  x.value = std::move(value);
  x.headers = std::move(headers);
  return x;
}

std::string header(const messaging::record& x, const std::string& name) {
  return messaging::find_header(x.headers, name).value_or("(none)");
}

// -- set-up ------------------------------------------------------------------------

stage::stage(std::string bootstrap, bool create, int32_t partitions)
  : bootstrap_(std::move(bootstrap)), prefix_(unique_prefix()), partitions_(partitions) {
  if (!create)
    return;
  create_topics({"jobs", "results", "dead", "events"});
  begin_reading();
}

messaging::kafka_properties stage::client() const {
  return {{"bootstrap.servers", bootstrap_}, {"reconnect.backoff.max.ms", "500"}};
}

void stage::create_topics(const std::vector<std::string>& kinds) {
  std::vector<messaging::topic_specification> wanted;
  for (const auto& kind : kinds)
    wanted.push_back({topic(kind), kind == "jobs" ? partitions_ : 1, 1, {}});
  must(messaging::create_topics(client(), wanted, kafka_limit));
}

void stage::begin_reading(const std::set<std::string>& kinds) {
  for (auto [reader, kind] :
       {std::pair{&result_reader_, "results"}, std::pair{&dead_letter_reader_, "dead"},
        std::pair{&event_reader_, "events"}})
    if (kinds.contains(kind))
      *reader = must(messaging::read_topic(client(), topic(kind),
                                           messaging::topic_reader::start::beginning, kafka_limit));
}

json stage::configuration(const json& patch) const {
  json c{
    {"kafka",
     {{"bootstrap.servers", bootstrap_},
      {"group.id", prefix_ + "group"},
      // A killed member is noticed soon, and so is a broker that is back.
      {"consumer", {{"session.timeout.ms", 6000}, {"heartbeat.interval.ms", 1000}}},
      {"reconnect.backoff.max.ms", 500},
      {"topic.metadata.refresh.interval.ms", 1000}}},
    {"topics",
     {{"jobs", topic("jobs")},
      {"results", topic("results")},
      {"dead_letters", topic("dead")},
      {"events", topic("events")}}},
    {"model", {{"path", source_file("models/digits/1").string()}, {"top_k", 3}}},
    {"workers", {{"slots", 2}, {"standbys", 1}}},
    // Other load on this machine must not open the breaker.
    {"memory", {{"container_limit_bytes", uint64_t{1} << 42}}},
    {"http", {{"host", "127.0.0.1"}, {"port", 0}}},
  };
  if (!patch.is_null())
    c.merge_patch(patch);
  return c;
}

// -- in --------------------------------------------------------------------------------

std::vector<messaging::record_id> stage::submit(std::vector<messaging::outgoing> records) {
  std::mutex mutex;
  std::vector<messaging::record_id> where(records.size());
  std::string failures;
  std::atomic<size_t> reports{0};
  auto producer = must(messaging::make_kafka_producer(
    client(), [&](const std::vector<messaging::delivery_report>& xs) {
      std::lock_guard guard{mutex};
      for (const auto& x : xs) {
        if (x.failure)
          failures += x.failure->describe() + "\n";
        else
          where.at(x.token) = x.where;
      }
      reports += xs.size();
    }));
  for (size_t i = 0; i < records.size(); ++i) {
    records[i].topic = topic("jobs");
    records[i].token = i;
    must(producer->produce(records[i]));
  }
  if (!eventually([&] { return reports == records.size(); }) || !failures.empty())
    throw std::runtime_error("submitting failed: " + failures);
  return where;
}

void stage::submit_digits(size_t count, const std::string& prefix,
                          const messaging::header_list& headers) {
  std::vector<messaging::outgoing> records;
  for (size_t i = 0; i < count; ++i) {
    const auto& x = digits()[i % digits().size()];
    char id[96];
    std::snprintf(id, sizeof id, "%s-%05zu", prefix.c_str(), i);
    records.push_back(job_record(id, x.bytes, headers));
    submitted_.insert(id);
    labels_[id] = x.label;
  }
  submit(std::move(records));
}

// -- out ---------------------------------------------------------------------------------

void stage::read(std::chrono::milliseconds limit) {
  if (!result_reader_ && !dead_letter_reader_ && !event_reader_)
    throw std::logic_error{"no topic is read: begin_reading comes first"};
  // The first topic that is there is waited for; others may come later.
  auto wait = limit;
  auto drain = [&wait](const std::unique_ptr<messaging::topic_reader>& from, auto handle) {
    if (!from)
      return;
    for (auto next = must(from->next(std::exchange(wait, 0ms))); next; next = must(from->next(0ms)))
      handle(std::move(*next));
  };
  drain(result_reader_, [&](messaging::record x) {
    auto document = json::parse(x.value ? *x.value : "");
    results_.push_back({std::move(document), std::move(x)});
  });
  drain(dead_letter_reader_, [&](messaging::record x) { dead_letters_.push_back(std::move(x)); });
  drain(event_reader_,
        [&](const messaging::record& x) { events_.push_back(json::parse(*x.value)); });
}

bool stage::read_until(const std::function<bool()>& holds, std::chrono::milliseconds limit) {
  const auto deadline = clock::now() + limit;
  for (;;) {
    read(20ms);
    if (holds())
      return true;
    if (clock::now() >= deadline)
      return false;
  }
}

bool stage::read_all_answers(std::chrono::milliseconds limit) {
  return read_until([&] { return lost().empty(); }, limit);
}

bool stage::read_event(const std::string& type, const std::string& key, const json& value,
                       std::chrono::milliseconds limit) {
  return read_until(
    [&] {
      for (const auto& x : events(type))
        if (key.empty() || x.at("detail").value(key, json{}) == value)
          return true;
      return false;
    },
    limit);
}

std::vector<json> stage::events(const std::string& type) const {
  std::vector<json> found;
  for (const auto& x : events_)
    if (type.empty() || x.at("type") == type)
      found.push_back(x);
  return found;
}

std::vector<result_record> stage::results_of(const std::string& job_id) const {
  std::vector<result_record> found;
  for (const auto& x : results_)
    if (x.job_id() == job_id)
      found.push_back(x);
  return found;
}

std::set<std::string> stage::lost() const {
  auto open = submitted_;
  for (const auto& x : results_)
    open.erase(x.job_id());
  for (const auto& x : dead_letters_)
    open.erase(x.key.value_or(""));
  return open;
}

size_t stage::duplicates() const {
  std::map<std::string, size_t> answers;
  for (const auto& x : results_)
    ++answers[x.job_id()];
  for (const auto& x : dead_letters_)
    ++answers[x.key.value_or("")];
  size_t sum = 0;
  for (const auto& [id, n] : answers)
    sum += n - 1;
  return sum;
}

double stage::accuracy() const {
  std::map<std::string, bool> right;
  for (const auto& x : results_)
    if (auto i = labels_.find(x.job_id()); i != labels_.end())
      right[x.job_id()] = x.document.value("label", "") == i->second;
  size_t sum = 0;
  for (const auto& [id, yes] : right)
    sum += yes;
  return right.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(right.size());
}

std::string stage::account() const {
  const auto open = lost();
  std::ostringstream out;
  out << submitted_.size() << " submitted, " << results_.size() << " results, "
      << dead_letters_.size() << " dead letters, " << duplicates() << " duplicates, " << open.size()
      << " lost";
  auto shown = 0;
  for (const auto& id : open)
    if (++shown <= 5)
      out << ' ' << id;
  out << "\nevents:";
  for (const auto& x : events_)
    out << ' ' << x.at("type").get<std::string>();
  return out.str();
}

void expect_all_accounted(const stage& x, const service& by) {
  EXPECT_TRUE(x.lost().empty()) << x.account();
  json total;
  // The last delivery reports may still be on their way to the ledger.
  EXPECT_TRUE(eventually([&] {
    total = by.get_json("/ledger").at("total");
    return total.at("in_flight") == 0;
  }))
    << total;
  EXPECT_TRUE(total.at("balanced")) << total;
  EXPECT_EQ(total.at("fetched").get<uint64_t>(),
            total.at("published").get<uint64_t>() + total.at("dead_lettered").get<uint64_t>()
              + total.at("handed_back").get<uint64_t>() + total.at("already_done").get<uint64_t>())
    << total;
}

} // namespace ziyu::e2e
