#include "actors/service.hpp"

#include "actors/configured_settings.hpp"
#include "actors/http.hpp"
#include "actors/log_line.hpp"
#include "actors/signals.hpp"
#include "actors/source.hpp"
#include "base/heap.hpp"
#include "base/log.hpp"
#include "messaging/kafka_consumer.hpp"

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
      report_(std::make_shared<reporter>(system_environment(), instance_name(), c.topics.events,
                                         stats_)) {
    stats_->begin_slots(c.workers.slots);
    core_.emplace(system_, report_, wired_settings());
  }

  expected<void> start() {
    // The port first: it is the most likely mistake, and no job is taken yet.
    http_settings web;
    web.host = config_.http.host;
    web.port = config_.http.port;
    web.model_folder = config_.model.path;
    web.dispatcher = core_->dispatcher();
    web.supervisor = core_->supervisor();
    web.stats = stats_;
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
  service_settings wired_settings() {
    auto x = to_service_settings(config_);
    x.records.end = [this](std::unique_ptr<messaging::producer> p) { endings_.add(std::move(p)); };
    x.pool.host = std::make_shared<process_host>(system_,
                                                 to_process_host_settings(config_, stats_));
    x.pool.on_model = [stats = stats_](const events::model_version& m) { stats->serve_model(m); };
    x.pool.on_fatal = [&stop = stop_](error why) { stop.fail_with(std::move(why)); };
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
