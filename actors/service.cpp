#include "actors/service.hpp"

#include "actors/http.hpp"
#include "actors/http_front.hpp"
#include "actors/log_line.hpp"
#include "actors/process_host.hpp"
#include "actors/service_core.hpp"
#include "actors/signals.hpp"
#include "actors/source.hpp"
#include "base/heap.hpp"
#include "base/log.hpp"
#include "configs/job_memory.hpp"
#include "messaging/kafka_consumer.hpp"
#include "messaging/kafka_producer.hpp"
#include "messaging/kafka_transactional_producer.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <future>
#include <mutex>
#include <thread>

#include <stdio_ext.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

/// Time that a stop gives the helper that names the call stacks of a leak.
constexpr uint64_t explain_ms = 3'000;

struct system_config : caf::actor_system_config {
  system_config() {
    // Two threads run all actors: the work is in the worker processes.
    set("scheduler.max-threads", size_t{2});
    // Idle threads sleep: the other policy polls, which costs a sixth of two cores.
    set("scheduler.policy", caf::atom("sharing"));
    load<caf::io::middleman>();
  }
};

void log_account(const char* what, const nlohmann::json& x) {
  if (log_is_json())
    log_line(spdlog::level::info, what, {}, x);
  else
    spdlog::info("{}: {}", what, x.dump());
}

/// The model of the present fork server; written by the supervisor, read by HTTP.
class current_model {
public:
  void set(const events::model_version& x) {
    std::lock_guard guard{mutex_};
    value_ = x;
  }
  events::model_version get() const {
    std::lock_guard guard{mutex_};
    return value_;
  }

private:
  mutable std::mutex mutex_;
  events::model_version value_;
};

std::string host_name() {
  char host[256] = "localhost";
  ::gethostname(host, sizeof host - 1);
  return host;
}

std::string instance_name() { return host_name() + "-" + std::to_string(::getpid()); }

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
  if (c.memory.model_cache_bytes > 0)
    s.judge.model_cache_bytes = c.memory.model_cache_bytes;
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
  s.max_attempts = c.jobs.max_attempts;
  s.max_aside_bytes = c.jobs.max_in_flight_bytes / 4;
  s.retry_backoff = milliseconds{c.delivery.retry_backoff_ms};
  s.retry_backoff_max = milliseconds{c.delivery.retry_backoff_max_ms};
  from_string(c.delivery.ordering, s.order); // the schema allows no other
  s.job_timeout = milliseconds{c.workers.job_timeout_ms};
  from_string(c.jobs.dead_letter_headers, s.dead_letter_style);
  from_string(c.breaker.mode, s.breaker.mode);
  s.breaker.open_at = c.breaker.open_at;
  s.breaker.close_below = c.breaker.close_below;
  s.breaker.open_for = milliseconds{c.breaker.open_ms};
  s.breaker.open_max = milliseconds{c.breaker.open_max_ms};
  s.breaker.settle = milliseconds{c.breaker.settle_ms};
  s.breaker.probe_jobs = c.breaker.probe_jobs;
  s.breaker.error_rate = c.breaker.error_rate;
  s.breaker.error_min_jobs = c.breaker.error_min_jobs;
  s.breaker.error_window = milliseconds{c.breaker.error_window_ms};
  s.pressure.ease_at = c.breaker.ease_at;
  s.pressure.tighten_at = c.breaker.tighten_at;
  s.pressure.open_at = c.breaker.open_at;
  s.limits.max_bytes = c.jobs.max_bytes;
  s.limits.max_pixels = c.jobs.max_pixels;
  s.limits.dataref_root = c.jobs.dataref_root;
  return s;
}

/// Ends producers on threads of their own. Thread-safe. The destructor waits for them.
class endings {
public:
  void add(std::unique_ptr<messaging::producer> x) {
    std::lock_guard guard{mutex_};
    std::erase_if(under_way_,
                  [](const auto& each) { return each.wait_for(0s) == std::future_status::ready; });
    under_way_.push_back(
      std::async(std::launch::async, [x = std::move(x)]() mutable { x.reset(); }));
  }

private:
  std::mutex mutex_;
  std::vector<std::future<void>> under_way_;
};

stop_limits to_stop_limits(const configs::config& c) {
  const auto& x = c.shutdown;
  return {.gate_ms = x.gate_ms,
          .drain_ms = x.drain_ms,
          .flush_ms = x.flush_ms,
          .commit_ms = x.commit_ms,
          .close_ms = x.close_ms,
          .workers_ms = c.workers.grace_ms + explain_ms};
}

process_host_settings to_process_host_settings(const configs::config& c,
                                               std::shared_ptr<metrics> stats) {
  process_host_settings x;
  x.executable = worker_executable(c);
  x.max_pixels = c.jobs.max_pixels;
  x.stats = std::move(stats);
  x.faults_allowed = c.faults.allowed;
  if (c.healing.enabled) { // else memory is never healed
    x.budget_bytes = c.memory.worker_budget_bytes;
    x.hard_limit_bytes = c.memory.worker_hard_limit_bytes;
    x.max_peak_bytes = configs::job_room(x.budget_bytes, x.hard_limit_bytes);
  }
  x.container_limit_bytes = c.memory.container_limit_bytes;
  return x;
}

producer_factory producers(const configs::config& c) {
  return [properties = configs::producer_properties(c)](messaging::producer::report_handler h) {
    return messaging::make_kafka_producer(properties, std::move(h));
  };
}

transactional_producer_factory transactional_producers(const configs::config& c) {
  messaging::transaction_settings each;
  each.group = c.kafka.consumer.contains("group.id") ? c.kafka.consumer.at("group.id")
                                                     : c.kafka.common.at("group.id");
  each.limit = configs::transaction_timeout(c) / 2;
  return [each, properties = configs::transactional_properties(c, host_name(), ::getpid())](
           messaging::transactional_producer::report_handler h) {
    return messaging::make_kafka_transactional_producer(properties, each, std::move(h));
  };
}

/// All parts of a running service, in the order in which they begin.
class service {
public:
  service(const configs::config& c, wakeups& stop)
    : config_(c), stop_(stop), system_(system_config_), stats_(std::make_shared<metrics>()),
      report_(
        std::make_shared<reporter>(system_environment(), instance_name(), c.topics.events, stats_)),
      model_(std::make_shared<current_model>()) {
    stats_->begin_slots(c.workers.slots);
    core_.emplace(system_, report_, to_service_settings());
  }

  expected<void> start() {
    // The port first: it is the most likely mistake, and no job is taken yet.
    http_settings web;
    web.host = config_.http.host;
    web.port = config_.http.port;
    web.dispatcher = core_->dispatcher();
    web.supervisor = core_->supervisor();
    web.stats = stats_;
    web.model = [model = model_] { return model->get(); };
    web.threshold = config_.breaker.tighten_at;
    auto server = http_server::start(system_, std::move(web));
    if (!server)
      return tl::unexpected(server.error());
    http_ = std::move(*server);
    start_source();
    report_->emit(
      events::service_started{.pid = ::getpid(),
                              .http = config_.http.host + ":" + std::to_string(http_->port()),
                              .jobs_topic = config_.topics.jobs,
                              .slots = config_.workers.slots,
                              .standbys = config_.workers.standbys});
    return {};
  }

  uint16_t port() const { return http_->port(); }

  /// Out of the group, workers last. The time that each stage took is reported. Prints the exit
  /// report.
  void stop() {
    report_->emit(events::service_stopping{.drain_ms = config_.shutdown.drain_ms});
    const auto stages = run_stages(stages_of_stop(to_stop_limits(config_)));
    caf::scoped_actor self{system_};
    const auto ledger = ledger_of(self);
    report_->emit(events::service_stopped{.ledger = ledger, .stages = stages});
    log_account("stages", stages.to_json());
    log_account("ledger", ledger["total"]);
    self->request(core_->events(), 4s, atom::drain{}, uint64_t{2'000})
      .receive([](bool) {}, [](const caf::error&) {});
    end_actors(self);
  }

  /// Takes this instance out of its group for maintenance. Jobs in flight are finished and
  /// committed as in a stop, and the partitions go to other instances. Workers and HTTP stay.
  void drain() {
    if (drained_)
      return;
    drained_ = true;
    spdlog::info("SIGUSR1: draining for maintenance; SIGUSR2 resumes");
    const auto stages = run_stages(stages_out_of_group(to_stop_limits(config_)));
    caf::scoped_actor self{system_};
    report_->emit(events::maintenance_began{.ledger = ledger_of(self)["total"], .stages = stages});
  }

  /// Joins the group again.
  void resume() {
    if (!drained_)
      return;
    spdlog::info("SIGUSR2: resuming");
    auto answer = std::make_shared<std::promise<bool>>();
    auto resumed = answer->get_future();
    core_->resume([answer](bool x) { answer->set_value(x); });
    while (resumed.wait_for(50ms) != std::future_status::ready)
      if (stop_.stop_is_due())
        return; // it is out of its group already
    if (!resumed.get()) {
      spdlog::error("an attempt of before does not end: not resumed; SIGUSR2 tries again");
      return;
    }
    drained_ = false;
    start_source();
    report_->emit(events::maintenance_ended{});
  }

  /// Ends a start that failed. There is no drain, as no job was taken.
  void abandon() {
    caf::scoped_actor self{system_};
    self->request(core_->supervisor(), 5s, atom::drain{}, uint64_t{1'000})
      .receive([](bool) {}, [](const caf::error&) {});
    end_actors(self);
  }

private:
  service_settings to_service_settings() {
    const auto& c = config_;
    service_settings x;
    x.credit = {c.jobs.max_in_flight, c.jobs.max_in_flight_bytes};
    x.jobs = to_dispatcher_settings(c);
    x.decoder_has_thread = true;
    x.records.make = producers(c);
    x.records.end = [this](std::unique_ptr<messaging::producer> p) { endings_.add(std::move(p)); };
    if (c.delivery.guarantee == "exactly_once") {
      x.transactions.emplace();
      x.transactions->make = transactional_producers(c);
    }
    x.pool = to_supervisor_settings(c);
    x.pool.model = c.model.path;
    x.pool.host = std::make_shared<process_host>(system_, to_process_host_settings(c, stats_));
    x.pool.on_model = [model = model_, stats = stats_](const events::model_version& m) {
      model->set(m);
      stats->serve_model(m);
    };
    x.pool.on_fatal = [&stop = stop_](error why) { stop.fail_with(std::move(why)); };
    x.slot.top_k = c.model.top_k;
    x.slot.faults_allowed = c.faults.allowed;
    return x;
  }

  void start_source() {
    auto make = [properties = configs::consumer_properties(config_), topic = config_.topics.jobs] {
      return messaging::make_kafka_consumer(properties, {topic});
    };
    source_ = std::make_shared<job_source>(std::move(make), core_->credit(), core_->dispatcher(),
                                           system_environment(), report_);
    core_->attach(source_);
  }

  /// Returns when all stages have ended; each has its deadline. The source is gone then.
  events::stop_stages run_stages(std::vector<stop_stage> stages) {
    auto ended = std::make_shared<std::promise<events::stop_stages>>();
    core_->run_stages(
      std::move(stages),
      [](const events::stop_stages::stage& x) {
        if (!x.done)
          spdlog::warn("stop, stage {}: not done within {} ms; going on", x.name, x.limit_ms);
      },
      [ended](events::stop_stages report) { ended->set_value(std::move(report)); });
    auto report = ended->get_future().get();
    source_.reset();
    return report;
  }

  /// As `GET /ledger`; an empty total when the dispatcher does not answer.
  nlohmann::json ledger_of(caf::scoped_actor& self) {
    nlohmann::json ledger{{"total", nlohmann::json::object()}};
    self->request(core_->dispatcher(), 2s, atom::status{})
      .receive([&](const dispatcher_status& x) { ledger = to_json(x.ledger); },
               [](const caf::error&) {});
    return ledger;
  }

  void end_actors(caf::scoped_actor& self) {
    if (http_)
      http_->stop();
    self->wait_for(core_->end());
  }

  const configs::config& config_;
  wakeups& stop_;
  endings endings_; ///< Outlives the actors.
  system_config system_config_;
  caf::actor_system system_;
  std::shared_ptr<metrics> stats_;
  std::shared_ptr<reporter> report_;
  std::shared_ptr<current_model> model_;
  std::optional<service_core> core_;
  std::unique_ptr<http_server> http_;
  std::shared_ptr<job_source> source_;
  bool drained_ = false; ///< Drained for maintenance.
};

/// 2: the configuration is wrong. With `image_too_large` its limits leave no room for any image.
int exit_code_of(const error& fatal) {
  return fatal.code == errc::invalid_config || fatal.code == errc::image_too_large ? 2 : 1;
}

/// A closed standard output is no reason to stop: the log says so.
void announce(const std::string& host, unsigned port) {
  std::printf("{\"serving\":true,\"http\":\"%s:%u\",\"pid\":%d}\n", host.c_str(), port, ::getpid());
  if (std::fflush(stdout) != 0) {
    spdlog::warn("standard output cannot be written: {}", std::strerror(errno));
    ::__fpurge(stdout); // otherwise exit() tries to write it again
    std::clearerr(stdout);
  }
}

} // namespace

messaging::client_properties client_properties_of(const configs::config& c) {
  messaging::client_properties result;
  result.consumer = configs::consumer_properties(c);
  result.producer = configs::producer_properties(c);
  if (c.delivery.guarantee == "exactly_once")
    result.transactional = configs::transactional_properties(c, host_name(), ::getpid());
  result.transaction_limit = configs::transaction_timeout(c) / 2;
  return result;
}

int serve(const configs::loaded& settings) {
  const auto& c = settings.values;
  keep_heap_compact();
  wakeups stop;
  if (auto ok = init_log(c.log.level, c.log.format); !ok) {
    std::fprintf(stderr, "ziyu: %s\n", ok.error().message.c_str());
    return 2;
  }
  // The address last: what a taken port hides may be a mistake.
  for (const auto& ok :
       {check_settings(c), messaging::check_clients(client_properties_of(c)), check_address(c)})
    if (!ok) {
      spdlog::error("{}", ok.error().message);
      return exit_code_of(ok.error());
    }
  service x{c, stop};
  if (auto ok = x.start(); !ok) {
    spdlog::error("{}", ok.error().message);
    x.abandon();
    return exit_code_of(ok.error());
  }
  announce(c.http.host, static_cast<unsigned>(x.port()));
  for (auto next = stop.wait(); next == wakeups::kind::drain || next == wakeups::kind::resume;
       next = stop.wait()) {
    if (next == wakeups::kind::resume) {
      x.resume();
      continue;
    }
    // A SIGTERM meanwhile waits for the end of the drain, which has deadlines.
    impatience watch{stop, 1};
    x.drain();
  }
  const auto fatal = stop.fatal();
  if (fatal)
    spdlog::critical("cannot go on: {}", fatal->describe());
  else
    spdlog::info("signal {}: stopping; a second signal stops at once", stop.signal());
  impatience watch{stop, 0};
  x.stop();
  return fatal ? exit_code_of(*fatal) : 0;
}

} // namespace ziyu::actors
