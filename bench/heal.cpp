// How long is a slot without results when its worker is killed?
//
// Real actors and real worker processes; only Kafka is replaced, by jobs from memory. The
// slot is kept busy; its worker is killed with SIGKILL; the clock stops at the first result
// of its successor. Beside it, in the same run: the same job in a fresh process, which has
// to load the model.

#include "actors/dispatcher.hpp"
#include "actors/inference.hpp"
#include "actors/process_host.hpp"
#include "actors/publisher.hpp"
#include "actors/supervisor.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "wire/socket.hpp"

#include <CLI/CLI.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <algorithm>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <deque>

#include <unistd.h>

namespace {

using namespace ziyu;
using namespace ziyu::actors;
using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr auto patience = 120s;
const messaging::topic_partition partition{"jobs", 0};

struct options {
  std::vector<std::string> models;
  std::string image = ZIYU_SOURCE_DIR "/tests/data/digits/0_024.png";
  std::string worker = (executable_dir() / "ziyu-worker").string();
  uint32_t kills = 100, cold_starts = 10;
};

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "bench_heal: %s\n", why.c_str());
  std::exit(1);
}

template <class T>
T need(expected<T> x) {
  if (!x)
    give_up(x.error().describe());
  if constexpr (!std::is_void_v<T>)
    return std::move(*x);
}

double ms_since(clock::time_point start) {
  return std::chrono::duration<double, std::milli>(clock::now() - start).count();
}

/// The nearest-rank percentile of at least one value.
double percentile(std::vector<double> values, double p) {
  std::sort(values.begin(), values.end());
  const auto rank = std::ceil(p / 100 * static_cast<double>(values.size()));
  return values[static_cast<size_t>(std::max(rank, 1.)) - 1];
}

/// Results as they are published, with the worker that made each.
class result_log {
public:
  struct item {
    clock::time_point when;
    int32_t pid = 0;
  };

  void add(int32_t pid) {
    std::lock_guard guard{mutex_};
    items_.push_back({clock::now(), pid});
    changed_.notify_all();
  }

  item next() {
    std::unique_lock guard{mutex_};
    if (!changed_.wait_for(guard, patience, [this] { return !items_.empty(); }))
      give_up("no result within 120 s");
    const auto x = items_.front();
    items_.pop_front();
    return x;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<item> items_;
};

/// A producer that acknowledges everything at once.
class memory_producer : public messaging::producer {
public:
  memory_producer(result_log& log, report_handler on_report)
    : log_(log), on_report_(std::move(on_report)) {}

  expected<void> produce(const messaging::outgoing& x) override {
    if (x.topic == "results")
      log_.add(json::parse(*x.value).at("worker").at("pid"));
    on_report_({x.token, {}, {x.topic, 0, 0}});
    return {};
  }

  expected<void> flush(std::chrono::milliseconds) override { return {}; }

private:
  result_log& log_;
  report_handler on_report_;
};

struct system_config : caf::actor_system_config {
  system_config() {
    set("scheduler.max-threads", size_t{2});
    load<caf::io::middleman>();
  }
};

/// One slot and one standby of a model, with work for ever.
class pool {
public:
  pool(const options& o, const std::string& model)
    : system_(config_), stats_(std::make_shared<metrics>()),
      report_(std::make_shared<reporter>(system_environment(), "bench", "events", stats_)),
      credit_(std::make_shared<intake>(intake::limits{})),
      image_(std::make_shared<const std::string>(need(read_file(o.image)))) {
    dispatcher_settings d;
    d.results_topic = "results";
    d.dead_letters_topic = "dead";
    d.slots = 1;
    d.max_attempts = 1'000'000; // the same jobs meet all of the kills
    d.credit = credit_;
    d.report = report_;
    d.store = [](const auto&, int64_t) { return expected<void>{}; };
    d.model = [] { return messaging::model_identity{}; };
    dispatcher_ = system_.spawn(dispatcher, std::move(d));
    publisher_settings p;
    p.make =
      [this](
        messaging::producer::report_handler h) -> expected<std::unique_ptr<messaging::producer>> {
      return std::make_unique<memory_producer>(log_, std::move(h));
    };
    p.dispatcher = dispatcher_;
    p.report = report_;
    publisher_ = system_.spawn(publisher, std::move(p));
    caf::anon_send(dispatcher_, publisher_);
    process_host_settings h;
    h.executable = o.worker;
    h.model = model;
    h.max_pixels = 100'000'000;
    supervisor_settings s;
    s.restart_intensity = 1'000'000; // killing is what we are here for
    s.host = std::make_shared<process_host>(system_, std::move(h));
    s.report = report_;
    s.dispatcher = dispatcher_;
    s.on_model = [](const auto&) {};
    s.on_fatal = [](const error& x) { give_up(x.describe()); };
    auto make = [this](uint32_t slot, supervisor_actor boss) {
      inference_settings i;
      i.slot = slot;
      i.dispatcher = dispatcher_;
      i.supervisor = std::move(boss);
      return system_.spawn(inference, i);
    };
    supervisor_ = system_.spawn(supervisor, std::move(s),
                                std::function<inference_actor(uint32_t, supervisor_actor)>{make});
    caf::anon_send(dispatcher_, messaging::partitions_assigned{1, {partition}});
    for (auto i = 0; i < 4; ++i)
      submit();
  }

  ~pool() {
    caf::scoped_actor self{system_};
    self->request(supervisor_, 10s, atom::drain{}, uint64_t{2'000})
      .receive([](bool) {}, [](const caf::error&) {});
    for (const auto& x :
         {caf::actor_cast<caf::actor>(supervisor_), caf::actor_cast<caf::actor>(dispatcher_),
          caf::actor_cast<caf::actor>(publisher_)})
      self->send_exit(x, caf::exit_reason::user_shutdown);
    self->wait_for(supervisor_, dispatcher_, publisher_);
    report_->disconnect();
  }

  /// The next result; another job takes its place.
  result_log::item next_result() {
    auto x = log_.next();
    submit();
    return x;
  }

  bool standby_ready() {
    caf::scoped_actor self{system_};
    auto ready = false;
    self->request(supervisor_, 5s, atom::status{})
      .receive([&](const supervisor_status& x) { ready = x.standbys > 0; },
               [](const caf::error&) {});
    return ready;
  }

private:
  void submit() {
    messaging::record record;
    record.id = {partition.topic, partition.partition, next_offset_++};
    record.epoch = 1;
    record.value = image_;
    auto job = std::make_shared<messaging::job>();
    job->id = messaging::to_string(record.id);
    job->source = record;
    job->image = image_;
    fetched_job msg;
    msg.source = std::make_shared<const messaging::record>(std::move(record));
    msg.job = std::move(job);
    msg.cost = image_->size();
    credit_->take(msg.cost);
    caf::anon_send(dispatcher_, std::move(msg));
  }

  system_config config_;
  result_log log_; // before the system, which outlives no producer of it
  caf::actor_system system_;
  std::shared_ptr<metrics> stats_;
  std::shared_ptr<reporter> report_;
  std::shared_ptr<intake> credit_;
  std::shared_ptr<const std::string> image_;
  int64_t next_offset_ = 0;
  dispatcher_actor dispatcher_;
  publisher_actor publisher_;
  supervisor_actor supervisor_;
};

struct warm_figures {
  std::vector<double> gaps_ms;
  std::vector<double> private_bytes;
};

warm_figures measure_standby(const options& o, const std::string& model) {
  pool workers{o, model};
  warm_figures result;
  constexpr auto jobs_between = 12;
  for (uint32_t i = 0; i < o.kills; ++i) {
    result_log::item last;
    for (auto k = 0; k < jobs_between; ++k)
      last = workers.next_result();
    const auto deadline = clock::now() + patience;
    while (!workers.standby_ready()) {
      if (clock::now() > deadline)
        give_up("no standby within 120 s");
      last = workers.next_result();
    }
    if (auto memory = supervision::read_process_memory(last.pid))
      result.private_bytes.push_back(static_cast<double>(memory->private_bytes));
    const auto killed = clock::now();
    ::kill(last.pid, SIGKILL);
    // What the victim had already answered does not count.
    auto next = workers.next_result();
    while (next.pid == last.pid)
      next = workers.next_result();
    result.gaps_ms.push_back(std::chrono::duration<double, std::milli>(next.when - killed).count());
  }
  return result;
}

template <class Frame>
Frame await(int fd) {
  for (;;) {
    auto next = need(wire::receive_frame(fd, patience));
    if (auto x = std::get_if<Frame>(&next.content))
      return std::move(*x);
    if (auto failed = std::get_if<wire::server_failed>(&next.content))
      give_up(failed->error_message);
  }
}

/// From the start of a process to its first result.
double measure_cold_start(const options& o, const std::string& model, const std::string& image) {
  const auto start = clock::now();
  auto control = need(wire::socket_pair());
  supervision::child_specification spec;
  spec.arguments = {o.worker, "--fork-server", "--model", model, "--control-fd", "3"};
  spec.control_fd = control.second.get();
  auto process = need(supervision::child_process::start(spec));
  control.second.reset();
  await<wire::server_ready>(control.first.get());
  auto socket = need(wire::socket_pair());
  need(wire::send_frame(control.first.get(), wire::spawn{1}, socket.second.get()));
  socket.second.reset();
  await<wire::ready>(socket.first.get());
  need(wire::send_frame(socket.first.get(), wire::job{1, 1, "", image}));
  await<wire::result>(socket.first.get());
  return ms_since(start);
}

json measure(const options& o, const std::string& model) {
  const auto image = need(read_file(o.image));
  std::vector<double> cold;
  for (uint32_t i = 0; i < o.cold_starts; ++i)
    cold.push_back(measure_cold_start(o, model, image));
  const auto warm = measure_standby(o, model);
  const auto description = json::parse(need(read_file(std::filesystem::path{model} / "model.json")),
                                       nullptr, false, true);
  const auto standby_p50 = percentile(warm.gaps_ms, 50), cold_p50 = percentile(cold, 50);
  return {{"model", description.value("name", model)},
          {"standby_p50_ms", standby_p50},
          {"standby_p99_ms", percentile(warm.gaps_ms, 99)},
          {"cold_p50_ms", cold_p50},
          {"cold_to_standby_ratio", cold_p50 / standby_p50},
          {"private_bytes_per_worker", percentile(warm.private_bytes, 50)},
          {"kills", warm.gaps_ms.size()},
          {"cold_starts", cold.size()}};
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{
    "How long is a slot without results when its worker is killed?\n"
    "Prints one JSON object for the first model; those of further models are in its \"others\"."};
  app.add_option("--model", o.models,
                 "Model folder; may be repeated (default: digits, and resnet18 if it is there)");
  app.add_option("--kills", o.kills, "Workers to kill")
    ->check(CLI::Range(1, 100'000))
    ->capture_default_str();
  app.add_option("--cold-starts", o.cold_starts, "Fresh processes to start")
    ->check(CLI::Range(1, 10'000))
    ->capture_default_str();
  app.add_option("--image", o.image, "Image of every job");
  CLI11_PARSE(app, argc, argv);
  if (auto ok = init_log("error", "text"); !ok)
    give_up(ok.error().describe());
  spdlog::set_level(spdlog::level::off); // deaths are the purpose here
  ::signal(SIGPIPE, SIG_IGN);
  if (o.models.empty()) {
    const std::filesystem::path known = ZIYU_SOURCE_DIR "/models";
    o.models.push_back((known / "digits/1").string());
    if (std::filesystem::exists(known / "resnet18/1/model.json"))
      o.models.push_back((known / "resnet18/1").string());
  }
  auto result = measure(o, o.models.front());
  for (size_t i = 1; i < o.models.size(); ++i)
    result["others"].push_back(measure(o, o.models[i]));
  std::printf("%s\n", result.dump(2).c_str());
  return 0;
}
