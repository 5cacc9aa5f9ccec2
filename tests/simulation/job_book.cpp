#include "tests/simulation/job_book.hpp"

#include <nlohmann/json.hpp>

namespace ziyu::simulation {

namespace {

/// Our own header in every record: it names the job in all records that are made of it.
constexpr auto mark = "x-simulated-source";

/// A BMP header that announces so many pixels, and behind it the job of the image.
std::string make_image(uint32_t width, uint32_t height, uint32_t partition, uint32_t offset,
                       size_t padding) {
  std::string x(72 + padding, '\0');
  auto put = [&](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i)
      x[at + i] = static_cast<char>(value >> (8 * i));
  };
  x[0] = 'B';
  x[1] = 'M';
  put(2, static_cast<uint32_t>(x.size()));
  put(10, 54);
  put(14, 40);
  put(18, width);
  put(22, height);
  x[26] = 1;
  x[28] = 24;
  put(64, partition);
  put(68, offset);
  return x;
}

uint32_t number_at(std::string_view text, size_t at) {
  uint32_t x = 0;
  for (size_t i = 0; i < 4; ++i)
    x |= static_cast<uint32_t>(static_cast<uint8_t>(text[at + i])) << (8 * i);
  return x;
}

} // namespace

job_book::job_book(timeline& time)
  : time_(time), log_(time.plan().partitions), finished_prefix_(time.plan().partitions) {
  // nop
}

int64_t job_book::end(int32_t partition) const {
  return static_cast<int64_t>(log_[static_cast<size_t>(partition)].size());
}

job_truth& job_book::at(int32_t partition, int64_t offset) {
  return log_.at(static_cast<size_t>(partition)).at(static_cast<size_t>(offset));
}

void job_book::append() {
  auto& d = time_.chance();
  const auto partition = static_cast<int32_t>(d.below(log_.size()));
  const auto offset = end(partition);
  job_truth x;
  if (time_.strikes(fault::bad_input, 5))
    x.kind = static_cast<job_kind>(1 + time_.of(fault::bad_input).below(3));
  else if (time_.strikes(fault::poison, 10))
    x.kind = time_.of(fault::poison).one_in(4) ? job_kind::hanger : job_kind::killer;
  else if (!deadly_ && time_.strikes(fault::deadly, 10)) {
    x.kind = job_kind::deadly;
    deadly_ = true;
  }
  auto& r = x.content;
  r.id = {jobs_topic, partition, offset};
  r.key = "job-" + std::to_string(partition) + "-" + std::to_string(offset);
  // A key that other jobs have, too, if their order matters.
  if (time_.plan().order == 1 && d.one_in(2))
    r.key = "key-" + std::to_string(d.below(3));
  if (time_.strikes(fault::duplicate_id, 8) && offset > 0)
    r.key = log_[static_cast<size_t>(partition)].back().content.key;
  r.headers = {{mark, std::to_string(partition) + "/" + std::to_string(offset)}};
  r.timestamp_ms = 1'700'000'000'000 + time_.now() / 1000;
  auto width = static_cast<uint32_t>(d.between(1, 1'000)), height = width;
  if (x.kind == job_kind::huge)
    width = height = 3'000;
  if (x.kind == job_kind::empty)
    r.value = std::make_shared<const std::string>();
  else if (x.kind != job_kind::tombstone)
    r.value = std::make_shared<const std::string>(
      make_image(width, height, static_cast<uint32_t>(partition), static_cast<uint32_t>(offset),
                 d.below(2'000)));
  time_.note("job {}-{}, key {}, kind {}", partition, offset, std::string_view{*r.key},
             static_cast<int>(x.kind));
  log_[static_cast<size_t>(partition)].push_back(std::move(x));
}

job_truth* job_book::find_image(std::string_view image) {
  if (image.size() < 72)
    return nullptr;
  const auto partition = number_at(image, 64), offset = number_at(image, 68);
  if (partition >= log_.size() || offset >= log_[partition].size())
    return nullptr;
  return &log_[partition][offset];
}

void job_book::on_output(const messaging::outgoing& x) {
  const auto source = messaging::find_header(x.headers, mark);
  if (!source) {
    time_.violate("headers", "a record of " + x.topic + " has lost its job's headers");
    return;
  }
  const auto slash = source->find('/');
  auto& job = at(std::stoi(source->substr(0, slash)), std::stoll(source->substr(slash + 1)));
  repeated_ += job.finished();
  if (job.finished() && time_.plan().exactly_once)
    time_.violate("P8", messaging::to_string(job.content.id) + " comes out a second time");
  if (x.topic == results_topic) {
    check_result(x, job);
    if (!job.finished())
      check_order(job);
    ++job.results;
    ++results_;
  } else {
    check_dead_letter(x, job);
    ++job.dead_letters;
    ++dead_letters_;
  }
  time_.note("written to {} of {} ({} times)", std::string_view{x.topic}, std::string_view{*source},
             job.results + job.dead_letters);
}

/// Dead letters have no order among results.
void job_book::check_order(const job_truth& job) {
  if (time_.plan().order == 0)
    return;
  const auto& id = job.content.id;
  for (auto offset = id.offset + 1; offset < end(id.partition); ++offset)
    if (const auto& later = at(id.partition, offset);
        later.results > 0 && (time_.plan().order == 2 || later.content.key == job.content.key))
      time_.violate("P9", messaging::to_string(id) + " comes out after "
                            + messaging::to_string(later.content.id));
}

void job_book::check_result(const messaging::outgoing& x, const job_truth& job) {
  const auto& id = job.content.id;
  const auto name = messaging::to_string(id);
  if (job.kind != job_kind::good)
    time_.violate("P6", name + " cannot have a result, and has one");
  const auto value = nlohmann::json::parse(*x.value, nullptr, false);
  if (value.is_discarded() || value.value("job_id", "") != job.content.key
      || value["source"]["offset"] != id.offset || value["source"]["partition"] != id.partition)
    time_.violate("results", name + " has a result that names another job: " + *x.value);
  else if (value["top_k"][0]["index"] != label_of(id.partition, id.offset))
    time_.violate("results", name + " has the result of another job");
  else if (!job.answered_by.contains(value["model"]["version"].get<std::string>()))
    time_.violate("version", name + " has a result that names version "
                               + value["model"]["version"].get<std::string>()
                               + " of the model, which has not answered it");
}

void job_book::check_dead_letter(const messaging::outgoing& x, const job_truth& job) {
  const auto name = messaging::to_string(job.content.id);
  const auto payload = x.value ? std::optional<std::string_view>{*x.value} : std::nullopt;
  const auto sent = job.content.value && !job.content.value->empty()
                      ? std::optional<std::string_view>{*job.content.value}
                      : std::nullopt;
  if (payload.value_or("") != sent.value_or("") || x.key != job.content.key)
    time_.violate("dead letters", name + " is a dead letter with another payload or key");
  // Each time that it was fetched again, an earlier owner may have had an attempt under way or
  // announced: that attempt counts, too.
  const auto owners_gone = job.fetched > 0 ? job.fetched - 1 : 0;
  if (!job.is_bad_input() && job.ended_badly + job.slow + owners_gone < max_attempts)
    time_.violate("P6", name + " is a dead letter after " + std::to_string(job.ended_badly)
                          + " attempts that ended badly and " + std::to_string(owners_gone)
                          + " owners that went");
}

int64_t job_book::first_unfinished(int32_t partition, int64_t next) {
  const auto& log = log_.at(static_cast<size_t>(partition));
  auto& prefix = finished_prefix_[static_cast<size_t>(partition)];
  while (prefix < static_cast<int64_t>(log.size()) && log[static_cast<size_t>(prefix)].finished())
    ++prefix;
  return prefix < next ? prefix : -1;
}

bool job_book::all_finished() const {
  for (const auto& log : log_)
    for (const auto& x : log)
      if (!x.finished())
        return false;
  return true;
}

size_t job_book::size() const {
  size_t sum = 0;
  for (const auto& log : log_)
    sum += log.size();
  return sum;
}

std::string job_book::unfinished() const {
  std::string text;
  for (const auto& log : log_)
    for (const auto& x : log)
      if (!x.finished())
        text += (text.empty() ? "" : " ") + messaging::to_string(x.content.id);
  return text.empty() ? "none" : text;
}

} // namespace ziyu::simulation
