#include "actors/service.hpp"

#include "actors/decoder.hpp"
#include "actors/dispatcher.hpp"
#include "actors/http.hpp"
#include "actors/http_front.hpp"
#include "actors/inference.hpp"
#include "actors/log_line.hpp"
#include "actors/process_host.hpp"
#include "actors/publisher.hpp"
#include "actors/signals.hpp"
#include "actors/source.hpp"
#include "actors/stop_program.hpp"
#include "actors/supervisor.hpp"
#include "actors/transactional_publisher.hpp"
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
  s.judge.workers = c.workers.slots;
  s.judge.budget_bytes = c.memory.worker_budget_bytes;
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
  s.slots = c.workers.slots;
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

/// All parts of a running service, in the order in which they begin.
class service {
public:
  service(const configs::config& c, wakeups& stop)
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
    // The port first: it is the most likely mistake, and nothing runs yet.
    spawn_supervisor();
    http_settings web;
    web.host = config_.http.host;
    web.port = config_.http.port;
    web.dispatcher = dispatcher_;
    web.supervisor = supervisor_;
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

  /// Out of the group, workers last (`stop_program`). The time that each stage took is reported.
  /// Prints the exit report.
  void stop() {
    report_->emit(events::service_stopping{.drain_ms = config_.shutdown.drain_ms});
    auto stages = take_out();
    if (http_)
      http_->stop();
    // More than the grace period, for the explanation of a leak that is under way.
    auto last = run_stages({{stop_stage::kind::workers, config_.workers.grace_ms + explain_ms}});
    std::move(last.stages.begin(), last.stages.end(), std::back_inserter(stages.stages));
    caf::scoped_actor self{system_};
    auto ledger = nlohmann::json::parse(ledger_of(self));
    report_->emit(events::service_stopped{.ledger = ledger, .stages = stages});
    log_account("stages", stages.to_json());
    log_account("ledger", ledger["total"]);
    self->request(events_, 4s, atom::drain{}, uint64_t{2'000})
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
    const auto stages = take_out();
    caf::scoped_actor self{system_};
    report_->emit(events::maintenance_began{
      .ledger = nlohmann::json::parse(ledger_of(self))["total"], .stages = stages});
  }

  /// Joins the group again.
  void resume() {
    if (!drained_)
      return;
    spdlog::info("SIGUSR2: resuming");
    if (!await_idle())
      return; // a stop is due: it is out of its group already
    drained_ = false;
    caf::anon_send(dispatcher_, atom::resume{});
    start_source();
    report_->emit(events::maintenance_ended{});
  }

  /// Ends a start that failed. There is no drain, as no job was taken.
  void abandon() {
    caf::scoped_actor self{system_};
    self->request(supervisor_, 5s, atom::drain{}, uint64_t{1'000})
      .receive([](bool) {}, [](const caf::error&) {});
    end_actors(self);
  }

private:
  events::stop_stages take_out() {
    const auto& share = config_.shutdown;
    auto report = run_stages(stages_out_of_group(share.gate_ms, share.drain_ms, share.flush_ms,
                                                 share.commit_ms, share.close_ms));
    source_.reset();
    return report;
  }

  /// Returns when all stages have ended; each has its deadline.
  events::stop_stages run_stages(std::vector<stop_stage> stages) {
    stop_program_settings x;
    x.stages = std::move(stages);
    x.credit = credit_;
    x.dispatcher = dispatcher_;
    x.publisher = publisher_;
    x.supervisor = supervisor_;
    if (source_) {
      x.commit = [source = source_](std::chrono::milliseconds limit,
                                    stop_program_settings::answer done) {
        source->commit(limit, [done = std::move(done)](const expected<void>& ok) {
          if (!ok)
            spdlog::warn("the last commit failed: {}", ok.error().describe());
          done(ok.has_value());
        });
      };
      x.close = [source = source_](std::chrono::milliseconds limit,
                                   const stop_program_settings::answer& done) {
        const auto until = std::chrono::steady_clock::now() + limit;
        source->stop(limit);
        done(std::chrono::steady_clock::now() < until);
      };
    }
    x.env = &report_->env();
    x.on_stage = [](const events::stop_stages::stage& stage) {
      if (!stage.done)
        spdlog::warn("stop, stage {}: not done within {} ms; going on", stage.name, stage.limit_ms);
    };
    auto ended = std::make_shared<std::promise<events::stop_stages>>();
    x.on_end = [ended](events::stop_stages report) { ended->set_value(std::move(report)); };
    // On a thread of its own, as the consumer's steps block.
    system_.spawn<caf::detached>(stop_program, std::move(x));
    return ended->get_future().get();
  }

  /// An attempt that outlived the drain must not run when its record is fetched again. So this
  /// waits for the attempt's end, which has its own deadline. False when there is a reason to stop
  /// meanwhile.
  bool await_idle() {
    caf::scoped_actor self{system_};
    const auto limit_us = static_cast<int64_t>(config_.workers.job_timeout_ms) * 1000 + 5'000'000;
    const auto until_us = report_->env().monotonic_us() + limit_us;
    auto idle = false;
    while (!idle && report_->env().monotonic_us() < until_us) {
      if (stop_.stop_is_due())
        return false;
      self->request(dispatcher_, 2s, atom::status{})
        .receive([&](const dispatcher_status& x) { idle = x.running == 0; },
                 [](const caf::error&) {});
      if (!idle)
        std::this_thread::sleep_for(50ms);
    }
    return true;
  }

  std::string ledger_of(caf::scoped_actor& self) {
    std::string ledger = R"({"total":{}})";
    self->request(dispatcher_, 2s, atom::status{})
      .receive([&](dispatcher_status& x) { ledger = std::move(x.ledger); },
               [](const caf::error&) {});
    return ledger;
  }

  void start_source() {
    auto make = [properties = configs::consumer_properties(config_), topic = config_.topics.jobs] {
      return messaging::make_kafka_consumer(properties, {topic});
    };
    source_ = std::make_shared<job_source>(std::move(make), credit_, dispatcher_,
                                           system_environment(), report_);
    {
      std::lock_guard guard{*store_mutex_};
      *store_target_ = source_;
    }
  }

  void spawn_dispatcher() {
    auto settings = to_dispatcher_settings(config_);
    settings.credit = credit_;
    settings.report = report_;
    settings.limits.max_bytes = config_.jobs.max_bytes;
    settings.limits.max_pixels = config_.jobs.max_pixels;
    settings.limits.dataref_root = config_.jobs.dataref_root;
    decoder_ = system_.spawn<caf::detached>(decoder, settings.limits);
    settings.decoder = decoder_;
    // The source starts after the dispatcher and ends before it.
    settings.store = [mutex = store_mutex_, target = store_target_](
                       const messaging::topic_partition& where,
                       const messaging::commit_point& point) -> expected<void> {
      std::lock_guard guard{*mutex};
      if (auto source = target->lock())
        return source->store(where, point);
      return fail(errc::revoked, "the job source is not running");
    };
    const auto exactly_once = config_.delivery.guarantee == "exactly_once";
    if (exactly_once)
      settings.membership = [mutex = store_mutex_, target = store_target_](const auto& epochs) {
        std::lock_guard guard{*mutex};
        const auto source = target->lock();
        return source ? source->membership(epochs) : nullptr;
      };
    dispatcher_ = system_.spawn(dispatcher, std::move(settings));
    publisher_settings out;
    out.make =
      [properties = configs::producer_properties(config_)](messaging::producer::report_handler h) {
        return messaging::make_kafka_producer(properties, std::move(h));
      };
    out.end = [this](std::unique_ptr<messaging::producer> x) { endings_.add(std::move(x)); };
    out.dispatcher = dispatcher_;
    out.report = report_;
    // Events are not part of transactions.
    events_ = system_.spawn(publisher, std::move(out));
    publisher_ = exactly_once ? spawn_transactional_publisher() : events_;
    caf::anon_send(dispatcher_, publisher_);
    report_->connect(events_);
  }

  publisher_actor spawn_transactional_publisher() {
    transactional_publisher_settings out;
    messaging::transaction_settings each;
    each.group = config_.kafka.consumer.contains("group.id") ? config_.kafka.consumer.at("group.id")
                                                             : config_.kafka.common.at("group.id");
    each.limit = configs::transaction_timeout(config_) / 2;
    out.make = [each,
                properties = configs::transactional_properties(config_, host_name(), ::getpid())](
                 messaging::transactional_producer::report_handler h) {
      return messaging::make_kafka_transactional_producer(properties, each, std::move(h));
    };
    out.dispatcher = dispatcher_;
    out.report = report_;
    return system_.spawn(transactional_publisher, std::move(out));
  }

  void spawn_supervisor() {
    auto settings = to_supervisor_settings(config_);
    process_host_settings processes;
    processes.executable = worker_executable(config_);
    processes.model = config_.model.path;
    processes.max_pixels = config_.jobs.max_pixels;
    processes.stats = stats_;
    processes.faults_allowed = config_.faults.allowed;
    if (config_.healing.enabled) { // else memory is never healed
      processes.budget_bytes = config_.memory.worker_budget_bytes;
      processes.hard_limit_bytes = config_.memory.worker_hard_limit_bytes;
      processes.max_peak_bytes = configs::job_room(processes.budget_bytes,
                                                   processes.hard_limit_bytes);
    }
    processes.container_limit_bytes = config_.memory.container_limit_bytes;
    settings.host = std::make_shared<process_host>(system_, std::move(processes));
    settings.report = report_;
    settings.dispatcher = dispatcher_;
    stats_->begin_slots(config_.workers.slots);
    settings.on_model = [model = model_, stats = stats_](const messaging::model_identity& x) {
      model->set(x);
      stats->serve_model(x);
    };
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
          caf::actor_cast<caf::actor>(publisher_), caf::actor_cast<caf::actor>(events_),
          caf::actor_cast<caf::actor>(decoder_)})
      self->send_exit(x, caf::exit_reason::user_shutdown);
    self->wait_for(supervisor_, dispatcher_, publisher_, events_);
    supervisor_ = supervisor_actor{};
    dispatcher_ = dispatcher_actor{};
    decoder_ = decoder_actor{};
    publisher_ = events_ = publisher_actor{};
  }

  const configs::config& config_;
  wakeups& stop_;
  endings endings_; ///< Outlives the actors.
  system_config system_config_;
  caf::actor_system system_;
  std::shared_ptr<metrics> stats_;
  std::shared_ptr<reporter> report_;
  std::shared_ptr<intake> credit_;
  std::shared_ptr<current_model> model_;
  std::shared_ptr<std::mutex> store_mutex_ = std::make_shared<std::mutex>();
  std::shared_ptr<std::weak_ptr<job_source>> store_target_ =
    std::make_shared<std::weak_ptr<job_source>>();
  decoder_actor decoder_;
  dispatcher_actor dispatcher_;
  publisher_actor publisher_, events_; ///< The same actor without transactions.
  supervisor_actor supervisor_;
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
