#include "actors/service.hpp"

#include "actors/dispatcher.hpp"
#include "actors/http.hpp"
#include "actors/inference.hpp"
#include "actors/process_host.hpp"
#include "actors/publisher.hpp"
#include "actors/source.hpp"
#include "actors/supervisor.hpp"
#include "base/file.hpp"
#include "base/heap.hpp"
#include "base/log.hpp"
#include "messaging/kafka_consumer.hpp"
#include "messaging/kafka_producer.hpp"
#include "wire/fault_spec.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <csignal>
#include <cstdio>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

/// What a stop grants to the helper that names the call stacks of a leak.
constexpr uint64_t explain_ms = 3'000;

struct system_config : caf::actor_system_config {
  system_config() {
    // Two threads run all actors: the work is in the worker processes.
    set("scheduler.max-threads", size_t{2});
    load<caf::io::middleman>();
  }
};

/// The model that serves now; written by the supervisor, read by the dispatcher.
class current_model {
public:
  void set(const messaging::model_identity& x) {
    std::lock_guard guard{mutex_};
    value_ = x;
  }
  messaging::model_identity get() const {
    std::lock_guard guard{mutex_};
    return value_;
  }

private:
  mutable std::mutex mutex_;
  messaging::model_identity value_;
};

/// What ends the service: a signal, or a fatal error from inside.
class stop_reason {
public:
  stop_reason() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    // Before any thread, so that all inherit it.
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
    ::signal(SIGPIPE, SIG_IGN);
    signals_ = wire::unique_fd{::signalfd(-1, &set, SFD_CLOEXEC)};
    wake_ = wire::unique_fd{::eventfd(0, EFD_CLOEXEC)};
  }

  /// Thread-safe; the first one counts.
  void fail_with(error x) {
    {
      std::lock_guard guard{mutex_};
      if (!fatal_)
        fatal_ = std::move(x);
    }
    const uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(wake_.get(), &one, sizeof one);
  }

  /// Blocks until there is a reason.
  void wait() {
    pollfd entries[] = {{signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    while (::poll(entries, 2, -1) < 0) {
    }
    signalfd_siginfo info;
    if (entries[0].revents != 0 && ::read(signals_.get(), &info, sizeof info) == sizeof info)
      signal_ = static_cast<int>(info.ssi_signo);
  }

  std::optional<error> fatal() const {
    std::lock_guard guard{mutex_};
    return fatal_;
  }
  int signal() const { return signal_; }

private:
  wire::unique_fd signals_, wake_;
  mutable std::mutex mutex_;
  std::optional<error> fatal_;
  int signal_ = 0;
};

std::string instance_name() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return std::string{host} + "-" + std::to_string(::getpid());
}

std::filesystem::path worker_executable(const configs::config& c) {
  return c.workers.executable.empty() ? executable_dir() / "ziyu-worker" : c.workers.executable;
}

supervisor_settings to_supervisor_settings(const configs::config& c) {
  using std::chrono::milliseconds;
  supervisor_settings s;
  s.slots = c.workers.slots;
  s.standbys = c.workers.standbys;
  s.start_timeout = milliseconds{c.workers.start_timeout_ms};
  s.grace = milliseconds{c.workers.grace_ms};
  s.probe_interval = milliseconds{c.memory.probe_interval_ms};
  s.judge.warmup_jobs = c.judge.warmup_jobs;
  s.judge.min_jobs = c.judge.min_jobs;
  s.judge.window_jobs = c.judge.window_jobs;
  s.judge.min_effect_bytes = c.judge.min_effect_bytes;
  s.judge.confidence = c.judge.confidence;
  s.judge.cache_entries = c.judge.cache_entries;
  s.judge.workers = c.workers.slots;
  s.judge.budget_bytes = c.memory.worker_budget_bytes;
  s.healing.enabled = c.healing.enabled;
  s.healing.budget_bytes = c.memory.worker_budget_bytes;
  s.healing.hard_limit_bytes = c.memory.worker_hard_limit_bytes;
  s.healing.replace_at = c.healing.replace_at;
  s.healing.forecast_jobs = c.healing.forecast_jobs;
  s.healing.min_life_jobs = c.healing.min_life_jobs;
  s.healing.max_unavailable = c.healing.max_unavailable;
  s.healing.jitter = c.healing.jitter;
  s.explain = c.healing.explain;
  s.explain_interval = milliseconds{c.healing.explain_interval_ms};
  s.restart_intensity = c.restart.intensity;
  s.restart_period = milliseconds{c.restart.period_ms};
  s.backoff_initial = milliseconds{c.restart.backoff_initial_ms};
  s.backoff_max = milliseconds{c.restart.backoff_max_ms};
  if (c.faults.allowed)
    s.slot_faults = c.faults.slots;
  return s;
}

dispatcher_settings to_dispatcher_settings(const configs::config& c) {
  using std::chrono::milliseconds;
  dispatcher_settings s;
  s.results_topic = c.topics.results;
  s.dead_letters_topic = c.topics.dead_letters;
  s.slots = c.workers.slots;
  s.max_attempts = c.jobs.max_attempts;
  s.job_timeout = milliseconds{c.workers.job_timeout_ms};
  s.breaker.open_at = c.breaker.open_at;
  s.breaker.close_below = c.breaker.close_below;
  s.breaker.open_for = milliseconds{c.breaker.open_ms};
  s.breaker.probe_jobs = c.breaker.probe_jobs;
  return s;
}

/// All parts of a running service, in the order in which they begin.
class service {
public:
  service(const configs::config& c, stop_reason& stop)
    : config_(c), stop_(stop), system_(system_config_), stats_(std::make_shared<metrics>()),
      report_(
        std::make_shared<reporter>(system_environment(), instance_name(), c.topics.events, stats_)),
      credit_(
        std::make_shared<intake>(intake::limits{c.jobs.max_in_flight, c.jobs.max_in_flight_bytes})),
      model_(std::make_shared<current_model>()) {
    // nop
  }

  expected<void> start() {
    spawn_dispatcher();
    // The port first: it is the likeliest thing to be wrong, and nothing runs yet.
    spawn_supervisor();
    http_settings web;
    web.host = config_.http.host;
    web.port = config_.http.port;
    web.dispatcher = dispatcher_;
    web.supervisor = supervisor_;
    web.stats = stats_;
    web.model = [model = model_] { return model->get(); };
    web.threshold = config_.breaker.open_at;
    auto server = http_server::start(system_, std::move(web));
    if (!server)
      return tl::unexpected(server.error());
    http_ = std::move(*server);
    messaging::job_limits limits;
    limits.max_bytes = config_.jobs.max_bytes;
    limits.max_pixels = config_.jobs.max_pixels;
    limits.dataref_root = config_.jobs.dataref_root;
    auto make = [properties = configs::consumer_properties(config_), topic = config_.topics.jobs] {
      return messaging::make_kafka_consumer(properties, {topic});
    };
    source_ = std::make_shared<job_source>(std::move(make), credit_, dispatcher_, limits,
                                           system_environment());
    {
      std::lock_guard guard{*store_mutex_};
      *store_target_ = source_;
    }
    report_->emit(spdlog::level::info, "service_started",
                  {{"pid", ::getpid()},
                   {"http", config_.http.host + ":" + std::to_string(http_->port())},
                   {"jobs_topic", config_.topics.jobs},
                   {"slots", config_.workers.slots},
                   {"standbys", config_.workers.standbys}});
    return {};
  }

  uint16_t port() const { return http_->port(); }

  /// Gate, drain, flush, commit, leave; workers last. Prints the exit report.
  void stop() {
    const auto drain_ms = config_.shutdown.drain_ms;
    report_->emit(spdlog::level::info, "service_stopping", {{"drain_ms", drain_ms}});
    credit_->hold(true);
    caf::scoped_actor self{system_};
    auto ask_drain = [&](const auto& whom, uint64_t limit_ms) {
      auto answer = false;
      self->request(whom, std::chrono::milliseconds{limit_ms} + 2s, atom::drain{}, limit_ms)
        .receive([&](bool x) { answer = x; }, [](const caf::error&) {});
      return answer;
    };
    if (!ask_drain(dispatcher_, drain_ms))
      spdlog::warn("not everything was finished within {} ms; the rest is handed back", drain_ms);
    if (source_)
      source_->stop(5s);
    if (http_)
      http_->stop();
    // Beyond the grace period, for the explanation of a leak that is under way.
    const auto end_ms = config_.workers.grace_ms + explain_ms;
    if (!ask_drain(supervisor_, end_ms))
      spdlog::warn("not every worker ended within {} ms", end_ms);
    std::string ledger = "{}";
    self->request(dispatcher_, 2s, atom::status{})
      .receive([&](dispatcher_status& x) { ledger = std::move(x.ledger); },
               [](const caf::error&) {});
    report_->emit(spdlog::level::info, "service_stopped",
                  {{"ledger", nlohmann::json::parse(ledger)}});
    spdlog::info("ledger: {}", nlohmann::json::parse(ledger)["total"].dump());
    ask_drain(publisher_, 2'000);
    end_actors(self);
  }

  /// For a start that failed: no drain, as nothing was taken.
  void abandon() {
    caf::scoped_actor self{system_};
    self->request(supervisor_, 5s, atom::drain{}, uint64_t{1'000})
      .receive([](bool) {}, [](const caf::error&) {});
    end_actors(self);
  }

private:
  void spawn_dispatcher() {
    auto settings = to_dispatcher_settings(config_);
    settings.credit = credit_;
    settings.report = report_;
    settings.model = [model = model_] { return model->get(); };
    // The source comes later, and goes earlier, than the dispatcher.
    settings.store = [mutex = store_mutex_, target = store_target_](
                       const messaging::topic_partition& where, int64_t next) -> expected<void> {
      std::lock_guard guard{*mutex};
      if (auto source = target->lock())
        return source->store(where, next);
      return fail(errc::revoked, "the job source is not running");
    };
    dispatcher_ = system_.spawn(dispatcher, std::move(settings));
    publisher_settings out;
    out.make =
      [properties = configs::producer_properties(config_)](messaging::producer::report_handler h) {
        return messaging::make_kafka_producer(properties, std::move(h));
      };
    out.dispatcher = dispatcher_;
    out.report = report_;
    publisher_ = system_.spawn(publisher, std::move(out));
    caf::anon_send(dispatcher_, publisher_);
    report_->connect(publisher_);
  }

  void spawn_supervisor() {
    auto settings = to_supervisor_settings(config_);
    process_host_settings processes;
    processes.executable = worker_executable(config_);
    processes.model = config_.model.path;
    processes.max_pixels = config_.jobs.max_pixels;
    processes.faults_allowed = config_.faults.allowed;
    processes.container_limit_bytes = config_.memory.container_limit_bytes;
    settings.host = std::make_shared<process_host>(system_, std::move(processes));
    settings.report = report_;
    settings.dispatcher = dispatcher_;
    settings.on_model = [model = model_](const messaging::model_identity& x) { model->set(x); };
    settings.on_fatal = [&stop = stop_](error x) { stop.fail_with(std::move(x)); };
    inference_settings each;
    each.top_k = config_.model.top_k;
    each.job_timeout = std::chrono::milliseconds{config_.workers.job_timeout_ms};
    each.faults_allowed = config_.faults.allowed;
    each.dispatcher = dispatcher_;
    auto make = [this, each](uint32_t slot, supervisor_actor boss) mutable {
      each.slot = slot;
      each.supervisor = std::move(boss);
      return system_.spawn(inference, each);
    };
    supervisor_ = system_.spawn(supervisor, std::move(settings),
                                std::function<inference_actor(uint32_t, supervisor_actor)>{make});
  }

  void end_actors(caf::scoped_actor& self) {
    report_->disconnect();
    if (http_)
      http_->stop();
    for (const auto& x :
         {caf::actor_cast<caf::actor>(supervisor_), caf::actor_cast<caf::actor>(dispatcher_),
          caf::actor_cast<caf::actor>(publisher_)})
      self->send_exit(x, caf::exit_reason::user_shutdown);
    self->wait_for(supervisor_, dispatcher_, publisher_);
    supervisor_ = supervisor_actor{};
    dispatcher_ = dispatcher_actor{};
    publisher_ = publisher_actor{};
  }

  const configs::config& config_;
  stop_reason& stop_;
  system_config system_config_;
  caf::actor_system system_;
  std::shared_ptr<metrics> stats_;
  std::shared_ptr<reporter> report_;
  std::shared_ptr<intake> credit_;
  std::shared_ptr<current_model> model_;
  std::shared_ptr<std::mutex> store_mutex_ = std::make_shared<std::mutex>();
  std::shared_ptr<std::weak_ptr<job_source>> store_target_ =
    std::make_shared<std::weak_ptr<job_source>>();
  dispatcher_actor dispatcher_;
  publisher_actor publisher_;
  supervisor_actor supervisor_;
  std::unique_ptr<http_server> http_;
  std::shared_ptr<job_source> source_;
};

/// Mistakes that only this program can see.
expected<void> check(const configs::config& c) {
  for (const auto& [slot, text] : c.faults.slots)
    if (auto fault = wire::parse_fault(text); !fault)
      return fail(errc::invalid_config,
                  "faults.slots." + std::to_string(slot) + ": " + fault.error().message);
  const auto executable = worker_executable(c);
  if (::access(executable.c_str(), X_OK) != 0)
    return fail(errc::invalid_config,
                "workers.executable: " + executable.string() + " is not there or not executable");
  return {};
}

} // namespace

int serve(const configs::loaded& settings) {
  const auto& c = settings.values;
  keep_heap_compact();
  stop_reason stop;
  if (auto ok = init_log(c.log.level, c.log.format); !ok) {
    std::fprintf(stderr, "ziyu: %s\n", ok.error().message.c_str());
    return 2;
  }
  if (auto ok = check(c); !ok) {
    spdlog::error("{}", ok.error().message);
    return 2;
  }
  service x{c, stop};
  if (auto ok = x.start(); !ok) {
    spdlog::error("{}", ok.error().message);
    x.abandon();
    return 1;
  }
  std::printf("{\"serving\":true,\"http\":\"%s:%u\",\"pid\":%d}\n", c.http.host.c_str(),
              static_cast<unsigned>(x.port()), ::getpid());
  std::fflush(stdout);
  stop.wait();
  const auto fatal = stop.fatal();
  if (fatal)
    spdlog::critical("cannot go on: {}", fatal->describe());
  else
    spdlog::info("signal {}: stopping", stop.signal());
  x.stop();
  return fatal ? fatal->code == errc::invalid_config ? 2 : 1 : 0;
}

} // namespace ziyu::actors
