#include "tests/simulation/simulation.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include <algorithm>
#include <deque>

namespace ziyu::simulation {

namespace {

/// When no fault occurs any more, all jobs must be finished within this.
constexpr int64_t liveness_s = 120;
/// Additional time for partitions that are stuck until a second remedy.
constexpr int64_t stuck_s = 80;

/// …and the pool must be complete within this.
constexpr int64_t recovery_us = 60'000'000;

/// No run needs so many steps: more of them are an endless loop.
constexpr uint64_t max_steps = 3'000'000;

struct system_config : caf::actor_system_config {
  system_config() { set("scheduler.policy", caf::atom("testing")); }
};

class world {
public:
  world(const scenario& x, const options& o)
    : plan_(x), wrappers_(o.wrappers), time_(x), jobs_(time_), broker_(time_, jobs_), sys_(config_),
      sched_(dynamic_cast<caf::scheduler::test_coordinator&>(sys_.scheduler())),
      begin_(sched_.clock().current_time), services_(x.services) {
    time_.listen(o.trace);
  }

  ~world() {
    // Actors that are not told to end would keep the system alive for ever.
    services_.clear();
    sched_.clock().cancel_all();
    sched_.run();
    sched_.clock().cancel_all();
    sched_.run();
  }

  outcome run() {
    plan_jobs();
    plan_faults();
    for (size_t i = 0; i < services_.size(); ++i)
      time_.after_ms(time_.chance().between(0, 500), [this, i] { start(i); });
    steps_until(int64_t{plan_.fault_ms} * 1'000, [] { return false; });
    calm();
    settle();
    outcome x;
    x.violations = time_.violations();
    x.steps = steps_;
    x.simulated_us = time_.now();
    x.jobs = jobs_.size();
    x.results = jobs_.results();
    x.dead_letters = jobs_.dead_letters();
    x.repeated = jobs_.repeated();
    x.rebalances = broker_.rebalances;
    x.commits = broker_.commits;
    x.pauses = broker_.pauses;
    for (size_t i = 0; i < services_.size(); ++i)
      end(i);
    x.services = lives_;
    x.workers = workers_;
    x.worker_deaths = deaths_;
    x.openings = openings_;
    x.resumptions = resumptions_;
    x.rollouts = rollouts_;
    x.hash = time_.hash();
    return x;
  }

private:
  // -- time ------------------------------------------------------------------------------------

  bool failed() const { return !time_.violations().empty(); }

  /// Runs until that time, or until the condition holds, or until a promise is broken.
  template <class Predicate>
  bool steps_until(int64_t us, Predicate is_so) {
    uint64_t n = 0;
    while (!failed() && time_.now() < us) {
      if (++n % 32 == 0 && is_so())
        return true;
      if (++steps_ > max_steps) {
        time_.violate("liveness", "more steps than anybody needs: it goes round in circles");
        return false;
      }
      step(us);
      for (auto& x : services_)
        if (x)
          x->check();
    }
    return !failed() && is_so();
  }

  void step(int64_t limit_us) {
    // Sometimes messages wait while time passes.
    if (sched_.has_job() && !time_.strikes(fault::slow_actors, 50)
        && !(time_.next_due() <= time_.now() && time_.chance().one_in(4))) {
      // The order of the actors is random.
      auto& jobs = sched_.jobs;
      if (jobs.size() > 1)
        std::swap(jobs.front(), jobs[time_.chance().below(jobs.size())]);
      sched_.run_once();
      return;
    }
    auto& clock = sched_.clock();
    const auto timer = clock.schedule().empty() ? INT64_MAX
                                                : to_us(clock.schedule().begin()->first);
    const auto due = std::min({timer, time_.next_due(), limit_us});
    move_to(due);
    if (time_.next_due() <= due)
      time_.run_next();
  }

  int64_t to_us(caf::actor_clock::time_point x) const {
    const auto since = std::chrono::ceil<std::chrono::microseconds>(x - begin_);
    return std::max<int64_t>(since.count(), time_.now());
  }

  /// Moves all clocks on; timers that are due send their messages.
  void move_to(int64_t us) {
    time_.move_to(us);
    auto& clock = sched_.clock();
    clock.advance_time(begin_ + std::chrono::microseconds{us} - clock.current_time);
  }

  // -- services ---------------------------------------------------------------------------------

  void start(size_t i) {
    ++lives_;
    environments_.emplace_back(time_, plan_.seed * 1'000 + lives_);
    services_[i] = std::make_unique<service>(time_, broker_, sys_, wrappers_, lives_, i + 1,
                                             environments_.back());
    services_[i]->workers().on_deadly = [this, i, life = lives_] {
      time_.after_us(0, [this, i, life] {
        if (life != lives_of(i) || !services_[i])
          return;
        time_.note("a job kills service {}", life);
        restart(i);
      });
    };
    watch(i, lives_);
  }

  void end(size_t i) {
    if (!services_[i])
      return;
    workers_ += services_[i]->workers().spawned;
    deaths_ += services_[i]->workers().deaths;
    openings_ += services_[i]->openings();
    resumptions_ += services_[i]->resumptions();
    rollouts_ += services_[i]->rollouts();
    services_[i].reset();
  }

  void restart(size_t i) {
    if (!services_[i])
      return;
    end(i);
    time_.after_ms(time_.chance().between(10, 2'000), [this, i] { start(i); });
  }

  /// A service that ends is started again.
  void watch(size_t i, uint64_t life) {
    time_.after_ms(200, [this, i, life] {
      if (life != lives_of(i) || !services_[i])
        return;
      if (services_[i]->state() == service::phase::ended) {
        if (stopping_)
          return;
        restart(i);
      } else if (services_[i]->has_given_up()) {
        if (time_.is_calm() && time_.now() > calm_since_us_ + 10'000'000)
          time_.violate("liveness", "a service gives up though nothing is wrong");
        restart(i);
      } else {
        watch(i, life);
      }
    });
    life_of_.resize(services_.size());
    life_of_[i] = life;
  }

  uint64_t lives_of(size_t i) const { return life_of_[i]; }

  // -- what happens -----------------------------------------------------------------------------

  void plan_jobs() {
    // In bursts, over most of the time.
    for (uint32_t left = plan_.jobs; left > 0;) {
      const auto burst = static_cast<uint32_t>(
        std::min<uint64_t>(left, 1 + time_.chance().below(10)));
      time_.after_ms(time_.chance().between(0, plan_.fault_ms * 3 / 4), [this, burst] {
        for (uint32_t i = 0; i < burst; ++i)
          jobs_.append();
      });
      left -= burst;
    }
  }

  /// Plans up to `most` strikes of a fault; `act` gets a service that is there.
  template <class F>
  void plan_fault(fault x, uint64_t most, F act) {
    if (!plan_.has(x))
      return;
    auto& d = time_.of(x);
    for (auto n = 1 + d.below(most); n > 0; --n) {
      const auto which = d.below(services_.size());
      const auto number = d.next();
      time_.after_ms(d.between(100, plan_.fault_ms), [this, x, which, number, act] {
        if (time_.is_calm() || !services_[which])
          return;
        time_.note("fault: {}", to_string(x));
        act(which, number);
      });
    }
  }

  void for_a_while(uint64_t number, int64_t most_ms, std::function<void(bool)> set) {
    set(true);
    time_.after_ms(static_cast<int64_t>(number % static_cast<uint64_t>(most_ms)),
                   [set] { set(false); });
  }

  void plan_faults() {
    plan_fault(fault::service_kill, 2, [this](size_t i, uint64_t) { restart(i); });
    plan_fault(fault::service_stop, 2, [this](size_t i, uint64_t) { services_[i]->stop(); });
    plan_fault(fault::maintenance, 2, [this](size_t i, uint64_t n) {
      services_[i]->begin_maintenance();
      time_.after_ms(static_cast<int64_t>(n % 10'000), [this, i, life = lives_of(i)] {
        if (life == lives_of(i) && services_[i])
          services_[i]->end_maintenance();
      });
    });
    plan_fault(fault::worker_kill, 6,
               [this](size_t i, uint64_t) { services_[i]->workers().kill_any(); });
    plan_fault(fault::server_death, 4,
               [this](size_t i, uint64_t) { services_[i]->workers().server_dies(); });
    plan_fault(fault::server_stuck, 1,
               [this](size_t i, uint64_t) { services_[i]->workers().server_hangs(); });
    plan_fault(fault::rollout, 3,
               [this](size_t i, uint64_t n) { services_[i]->roll_out(1 + n % 4); });
    plan_fault(fault::rebalance, 6, [this](size_t, uint64_t) { broker_.rebalance(); });
    plan_fault(fault::eviction, 3, [this](size_t i, uint64_t) { services_[i]->evict(); });
    plan_fault(fault::poll_stall, 2, [this](size_t i, uint64_t n) {
      services_[i]->stall(static_cast<int64_t>(n % 8'000));
      if (n % 3 == 0)
        services_[i]->evict();
    });
    plan_fault(fault::consumer_fatal, 3,
               [this](size_t i, uint64_t) { services_[i]->break_consumer(); });
    plan_fault(fault::refetch, 5, [this](size_t i, uint64_t) { services_[i]->refetch(); });
    plan_fault(fault::fetch_stuck, 2,
               [this](size_t i, uint64_t n) { services_[i]->get_stuck(n / 2, n % 2 == 0); });
    plan_fault(fault::broker_down, 2, [this](size_t, uint64_t n) {
      for_a_while(n, 12'000, [this](bool on) { broker_.reachable = !on; });
    });
    plan_fault(fault::coordinator_loss, 2, [this](size_t, uint64_t n) {
      for_a_while(n, 8'000, [this](bool on) { broker_.has_coordinator = !on; });
    });
    plan_fault(fault::leader_loss, 3, [this](size_t, uint64_t n) {
      const auto p = static_cast<int32_t>(n % plan_.partitions);
      for_a_while(n / plan_.partitions, 12'000, [this, p](bool on) {
        if (on)
          broker_.leaderless.insert(p);
        else
          broker_.leaderless.erase(p);
      });
    });
    plan_fault(fault::slow_broker, 2, [this](size_t, uint64_t n) {
      for_a_while(n, 12'000, [this](bool on) { broker_.extra_latency_us = on ? 2'000'000 : 0; });
    });
    plan_fault(fault::memory_pressure, 2, [this](size_t i, uint64_t n) {
      // So much that the breaker opens, or only so much that the credit is reduced.
      const auto share = n / 6'000 % 2 == 0 ? 0.97 : 0.9;
      for_a_while(n, 6'000, [this, i, share](bool on) {
        if (services_[i])
          services_[i]->workers().set_pressure(on ? share : 0.1);
      });
    });
  }

  // -- the end ----------------------------------------------------------------------------------

  /// No fault occurs any more; the service must recover from those that occurred.
  void calm() {
    time_.note("calm");
    time_.calm();
    calm_since_us_ = time_.now();
    broker_.reachable = broker_.has_coordinator = true;
    broker_.leaderless.clear();
    broker_.extra_latency_us = 0;
    for (auto& x : services_)
      if (x) {
        x->workers().set_pressure(0.1);
        x->end_maintenance();
      }
  }

  std::string describe() const {
    std::string text = "unfinished: " + jobs_.unfinished();
    for (const auto& x : services_)
      text += "\n  " + (x ? x->describe() : "no service");
    return text;
  }

  void settle() {
    const auto start = time_.now();
    const auto limit_s = liveness_s + (plan_.has(fault::fetch_stuck) ? stuck_s : 0);
    steps_until(start + limit_s * 1'000'000,
                [this] { return jobs_.all_finished() && broker_.all_committed(); });
    if (failed())
      return;
    if (!jobs_.all_finished() || !broker_.all_committed()) {
      time_.violate("liveness", "not everything is finished and committed "
                                  + std::to_string(limit_s) + " s after the last fault; "
                                  + describe());
      return;
    }
    auto whole = [this] {
      return std::all_of(services_.begin(), services_.end(),
                         [](const auto& x) { return x && x->is_whole(); });
    };
    const auto limit = time_.now() + recovery_us;
    do {
      if (!steps_until(limit, whole) && !failed())
        time_.violate("healing",
                      "not all is as it should be 60 s after the last job; " + describe());
      // Messages that are under way arrive. A member that was thrown out and does not know it yet
      // may fetch a job once more.
      steps_until(time_.now() + 1'000'000, [] { return false; });
    } while (!failed() && !whole() && time_.now() < limit);
    if (failed())
      return;
    for (auto& x : services_)
      x->check_rest();
    if (!plan_.stops_at_end)
      return;
    stopping_ = true;
    for (auto& x : services_)
      x->stop();
    steps_until(time_.now() + 15'000'000, [this] {
      return std::all_of(services_.begin(), services_.end(),
                         [](const auto& x) { return x->state() == service::phase::ended; });
    });
  }

  const scenario plan_;
  const port_wrappers wrappers_;
  timeline time_;
  job_book jobs_;
  broker broker_;
  std::deque<virtual_environment> environments_; ///< Of all services.
  system_config config_;
  caf::actor_system sys_;
  caf::scheduler::test_coordinator& sched_;
  const caf::actor_clock::time_point begin_;
  std::vector<std::unique_ptr<service>> services_;
  std::vector<uint64_t> life_of_;
  uint64_t lives_ = 0, workers_ = 0, deaths_ = 0, openings_ = 0, resumptions_ = 0, rollouts_ = 0,
           steps_ = 0;
  int64_t calm_since_us_ = 0;
  bool stopping_ = false;
};

} // namespace

outcome run(const scenario& x, const options& o) { return world{x, o}.run(); }

scenario shrink(const scenario& x, const options& o, uint32_t runs) {
  auto quiet = o;
  quiet.trace = nullptr;
  auto best = x;
  const auto first = run(best, quiet);
  if (first.violations.empty())
    return best;
  const auto promise = first.violations.front().promise;
  auto try_with = [&](auto change) {
    auto smaller = best;
    change(smaller);
    if (runs == 0)
      return false;
    --runs;
    const auto found = run(smaller, quiet).violations;
    if (found.empty() || found.front().promise != promise)
      return false;
    best = smaller;
    return true;
  };
  for (auto progress = true; progress && runs > 0;) {
    progress = false;
    for (size_t i = 0; i < fault_count; ++i)
      if (best.faults.test(i))
        progress |= try_with([i](scenario& s) { s.faults.reset(i); });
    for (auto member : {&scenario::jobs, &scenario::services, &scenario::partitions,
                        &scenario::slots, &scenario::fault_ms, &scenario::max_batch}) {
      while (best.*member > 1 && try_with([member](scenario& s) { s.*member /= 2; }))
        progress = true;
      while (best.*member > 1 && best.*member <= 16
             && try_with([member](scenario& s) { --(s.*member); }))
        progress = true;
    }
  }
  return best;
}

} // namespace ziyu::simulation
