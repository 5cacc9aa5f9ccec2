#include "tests/simulation/service.hpp"

#include "actors/inference.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>

namespace ziyu::simulation {

using namespace std::chrono_literals;

namespace {

constexpr uint64_t max_bytes_in_flight = 6 * mib;
/// A single record may exceed the limit: its image, and a million pixels.
constexpr uint64_t largest_cost = 3'000'000 + 10'000;

constexpr size_t restart_intensity = 5;
constexpr std::chrono::seconds restart_period = 5s;
/// What a death is counted late, while messages wait.
constexpr int64_t news_us = 5'000'000;

constexpr uint64_t gate_ms = 1'000, drain_ms = 5'000, flush_ms = 2'000, commit_ms = 2'000,
                   close_ms = 2'000;
constexpr uint64_t grace_ms = 1'000;
constexpr uint64_t end_ms = grace_ms + 3'000;
/// The answer to a drain may be later than its limit by the steps of timers.
constexpr int64_t margin_ms = 500;
/// …and by a last transaction.
constexpr int64_t goodbye_ms = 1'250;

template <class State, class Actor>
State* state_of(const Actor& x) {
  using real = typename Actor::template stateful_base<State>;
  return &dynamic_cast<real&>(*caf::actor_cast<caf::abstract_actor*>(x)).state;
}

} // namespace

service::service(timeline& time, broker& where, caf::actor_system& sys,
                 const port_wrappers& wrappers, uint64_t number, uint64_t place, environment& env)
  : time_(time), broker_(where), sys_(sys), wrappers_(wrappers), number_(number), place_(place),
    env_(env), stats_(std::make_shared<actors::metrics>()),
    report_(std::make_shared<actors::reporter>(env_, "service-" + std::to_string(number),
                                               events_topic, stats_)),
    credit_(std::make_shared<actors::intake>(
      actors::intake::limits{max_jobs_in_flight, max_bytes_in_flight})),
    workers_(std::make_shared<simulated_workers>(time, where.jobs(), sys)) {
  time_.note("service {} starts", number_);
  spawn_actors();
  reopen_.emplace(200ms, 10'000ms);
  open_consumer();
  poll_later(0);
}

service::~service() {
  time_.note("service {} is gone", number_);
  *dead_ = true;
  life_.renew();
  if (inner_ != nullptr)
    inner_->vanish();
  loop_.reset();
  consumer_.reset();
  report_->disconnect();
  workers_->release();
  for (const auto& x :
       {caf::actor_cast<caf::actor>(supervisor_), caf::actor_cast<caf::actor>(dispatcher_),
        caf::actor_cast<caf::actor>(publisher_), caf::actor_cast<caf::actor>(events_)})
    caf::anon_send_exit(x, caf::exit_reason::kill);
}

void service::spawn_actors() {
  spawn_dispatcher();
  watch_jobs();
  spawn_publishers();
  caf::anon_send(dispatcher_, publisher_);
  report_->connect(events_);
  spawn_supervisor();
}

void service::spawn_dispatcher() {
  actors::dispatcher_settings d;
  d.results_topic = results_topic;
  d.dead_letters_topic = dead_letters_topic;
  d.slots = time_.plan().slots;
  d.max_attempts = max_attempts;
  d.job_timeout = std::chrono::milliseconds{job_timeout_ms};
  d.credit = credit_;
  d.report = report_;
  d.order = static_cast<actors::ordering>(time_.plan().order);
  d.retry_backoff = 50ms;
  d.retry_backoff_max = 1s;
  if (time_.plan().exactly_once)
    d.membership = [this, dead = dead_](
                     const auto& epochs) -> std::shared_ptr<const messaging::group_membership> {
      return *dead || !consumer_ ? nullptr : consumer_->membership(epochs);
    };
  d.store = [this, dead = dead_](const messaging::topic_partition& at,
                                 const messaging::commit_point& point) -> expected<void> {
    if (*dead)
      return fail(errc::revoked, "there is no service any more");
    const auto ok = consumer_ ? consumer_->store(at, point)
                              : fail(errc::revoked, "there is no consumer at present");
    if (phase_ != phase::running && (ok || closed_))
      progress_[{at.partition, dispatcher_state_->ledger.epoch_of(at).value_or(0)}] = point.next;
    return ok;
  };
  d.limits.max_pixels = max_pixels;
  dispatcher_ = sys_.spawn(actors::dispatcher, d);
  dispatcher_state_ = state_of<actors::dispatcher_state>(dispatcher_);
}

/// Follows which job is at which worker, for the promises about suspects.
void service::watch_jobs() {
  workers_->on_begin = [this](uint32_t slot, const job_truth& job) {
    const auto& x = dispatcher_state_->slots.at(slot).running;
    // Else the dispatcher has given this attempt up, and it is too late to say whose it was.
    if (!x || x->job.source->id != job.content.id)
      return;
    check_not_finished_before(*x, "is begun");
    check_suspects(slot, *x->job.source);
  };
  workers_->on_end = [this](uint32_t slot, const job_truth& job, bool answered) {
    const auto i = at_work_.find(slot);
    if (i == at_work_.end() || i->second.first != job.content.id)
      return;
    if (answered)
      suspects_.erase(i->second);
    else
      suspects_.insert(i->second);
    at_work_.erase(i);
  };
}

void service::spawn_publishers() {
  actors::publisher_settings p;
  auto make = [this, dead = dead_](messaging::producer::report_handler report)
    -> expected<std::unique_ptr<messaging::producer>> {
    if (*dead || time_.strikes(fault::producer_missing, 2))
      return fail(errc::kafka, "no producer, by the seed");
    // Records of a silent topic are set aside while the producer still holds them.
    auto most = [this] { return max_jobs_in_flight + set_aside_jobs(); };
    return std::make_unique<simulated_producer>(time_, broker_, std::move(report), std::move(most),
                                                dead);
  };
  p.make = [this, dead = dead_, make](messaging::producer::report_handler report)
    -> expected<std::unique_ptr<messaging::producer>> {
    if (*dead || !wrappers_.producer)
      return make(std::move(report));
    return wrappers_.producer(make, std::move(report));
  };
  p.dispatcher = dispatcher_;
  p.report = report_;
  p.max_event_bytes = max_event_bytes;
  events_ = sys_.spawn(actors::publisher, p);
  events_state_ = state_of<actors::publisher_state>(events_);
  publisher_ = events_;
  if (time_.plan().exactly_once) {
    actors::transactional_publisher_settings t;
    t.make = [this, dead = dead_](messaging::transactional_producer::report_handler report)
      -> expected<std::unique_ptr<messaging::transactional_producer>> {
      if (*dead || time_.strikes(fault::producer_missing, 2))
        return fail(errc::kafka, "no producer, by the seed");
      return std::make_unique<simulated_transactional_producer>(time_, broker_, std::move(report),
                                                                place_, dead);
    };
    t.dispatcher = dispatcher_;
    t.report = report_;
    const auto real = sys_.spawn(actors::transactional_publisher, t);
    transactions_state_ = state_of<actors::transactional_publisher_state>(real);
    publisher_ = real;
  }
}

void service::spawn_supervisor() {
  actors::supervisor_settings s;
  const auto slots = s.slots = time_.plan().slots;
  s.standbys = 1;
  s.start_timeout = 3s;
  s.grace = std::chrono::milliseconds{grace_ms};
  s.judge.budget_bytes = s.healing.budget_bytes = budget_bytes;
  s.judge.workers = slots;
  s.healing.hard_limit_bytes = hard_limit_bytes;
  s.restart_intensity = restart_intensity;
  s.restart_period = restart_period;
  s.host = workers_;
  s.report = report_;
  s.dispatcher = dispatcher_;
  s.on_model = [](const auto&) {};
  s.on_fatal = [this, dead = dead_](error x) {
    if (*dead)
      return;
    time_.note("service {} gives up: {}", number_, std::string_view{x.message});
    gave_up_ = true;
  };
  if (wrappers_.supervisor)
    wrappers_.supervisor(s);
  actors::inference_settings i;
  i.job_timeout = std::chrono::milliseconds{job_timeout_ms};
  i.dispatcher = dispatcher_;
  auto make_inference = [&sys = sys_, i](uint32_t slot, actors::supervisor_actor boss) mutable {
    i.slot = slot;
    i.supervisor = std::move(boss);
    return sys.spawn(actors::inference, i);
  };
  supervisor_ = sys_.spawn(
    actors::supervisor, s,
    std::function<actors::inference_actor(uint32_t, actors::supervisor_actor)>{make_inference});
  supervisor_state_ = state_of<actors::supervisor_state>(supervisor_);
}

// -- the source, as `job_source` runs it on its thread ------------------------------------------

void service::open_consumer() {
  auto made = std::make_unique<simulated_consumer>(time_, broker_, assignments_);
  inner_ = made.get();
  consumer_ = std::move(made);
  if (wrappers_.consumer)
    consumer_ = wrappers_.consumer(std::move(consumer_));
  loop_.emplace(*consumer_, *credit_, dispatcher_, env_, &watchdog_, report_);
}

void service::close_consumer() {
  consumer_->close(5s);
  loop_.reset();
  inner_ = nullptr;
  consumer_.reset();
}

void service::poll_later(int64_t us) {
  time_.after_us(us, life_.guard([this] { poll(); }));
}

void service::poll() {
  if (!consumer_)
    return; // stopped
  if (time_.now() < stalled_until_us_)
    return poll_later(stalled_until_us_ - time_.now());
  const auto jobs = credit_->jobs();
  const auto may_fetch = credit_->open();
  const auto go_on = loop_->turn(0ms);
  if (!serve_stop(go_on))
    return;
  if (credit_->jobs() > jobs && !may_fetch)
    time_.violate("P4", "a record is fetched without credit for it");
  if (go_on)
    reopen_->reset();
  else {
    // Unusable: makes a fresh consumer, but not in a tight loop.
    close_consumer();
    time_.after_ms(reopen_->next(env_.random()).count(), life_.guard([this] {
      if (close_)
        return leave();
      open_consumer();
      poll();
    }));
    return;
  }
  // Records that are there are fetched at once; otherwise it waits.
  poll_later(credit_->jobs() > jobs ? time_.chance().between(20, 2'000)
                                    : time_.chance().between(5'000, 50'000));
}

void service::evict() {
  if (inner_ != nullptr)
    inner_->evict();
}

void service::break_consumer() {
  if (inner_ != nullptr)
    inner_->break_down();
}

void service::refetch() {
  if (inner_ != nullptr)
    inner_->refetch();
}

void service::get_stuck(uint64_t which, bool for_good) {
  if (inner_ != nullptr)
    inner_->get_stuck(which, for_good);
}

// -- the stop -----------------------------------------------------------------------------------

void service::stop() {
  if (phase_ != phase::running)
    return;
  time_.note("service {} stops", number_);
  phase_ = phase::stopping;
  actors::stop_program_settings x;
  x.stages = actors::stages_out_of_group(gate_ms, drain_ms, flush_ms, commit_ms, close_ms);
  x.stages.push_back({actors::stop_stage::kind::workers, end_ms});
  if (wrappers_.stop)
    wrappers_.stop(x.stages);
  x.credit = credit_;
  x.dispatcher = dispatcher_;
  x.publisher = publisher_;
  x.supervisor = supervisor_;
  using answer = actors::stop_program_settings::answer;
  x.commit = [this, dead = dead_](std::chrono::milliseconds limit, answer done) {
    if (*dead)
      return;
    if (!consumer_)
      return done(false);
    commit_ = [this, limit, done = std::move(done)] {
      done(consumer_ && consumer_->commit(limit).has_value());
    };
  };
  x.close = [this, dead = dead_](std::chrono::milliseconds, answer done) {
    if (*dead)
      return;
    close_ = [done = std::move(done)] { done(true); };
  };
  x.env = &env_;
  x.on_stage = [this, dead = dead_](const auto& stage) {
    if (!*dead)
      check_stage(stage);
  };
  x.on_end = [this, dead = dead_](const auto& report) {
    if (!*dead)
      on_stopped(report);
  };
  sys_.spawn(actors::stop_program, std::move(x));
}

/// The poll thread commits between two turns, and closes when no partitions are on their way out.
/// False when it has ended.
bool service::serve_stop(bool go_on) {
  if (commit_)
    std::exchange(commit_, nullptr)();
  if (!close_ || (go_on && loop_->handing_over()))
    return true;
  for (const auto& x : inner_->view())
    if (x.known)
      left_.emplace(x.where.partition, x.epoch);
  close_consumer();
  leave();
  return false;
}

void service::leave() {
  closed_ = true;
  std::exchange(close_, nullptr)();
}

void service::check_stage(const events::stop_stages::stage& x) {
  time_.note("service {}: {} took {} ms, done={}", number_, std::string_view{x.name},
             static_cast<int64_t>(x.ms), x.done);
  const auto goodbye = time_.plan().exactly_once ? goodbye_ms : 0;
  // The poll thread may stand still; then a stop goes on without it.
  const auto polls = x.name == "commit" || x.name == "close";
  if (!polls && x.ms > static_cast<double>(static_cast<int64_t>(x.limit_ms) + margin_ms + goodbye))
    time_.violate("P7", "stage " + x.name + " of a stop takes " + std::to_string(x.ms) + " ms");
  if (x.name == "drain")
    check_ledger("after the drain", true);
  if (x.name == "workers" && (!x.done || workers_->alive() > 0 || workers_->server_alive()))
    time_.violate("P7", std::to_string(workers_->alive()) + " workers outlive the stop");
}

/// Who stops in good order leaves nothing to be done again.
void service::on_stopped(const events::stop_stages& x) {
  phase_ = phase::ended;
  time_.note("service {} has ended", number_);
  if (std::any_of(x.stages.begin(), x.stages.end(), [](const auto& stage) { return !stage.done; }))
    return;
  for (const auto& [of, next] : progress_) {
    const auto partition = of.first;
    const auto committed = broker_.committed(partition);
    if (left_.contains(of) && committed && committed->next < next)
      time_.violate("P7", "a stop in good order has finished partition " + std::to_string(partition)
                            + " up to " + std::to_string(next) + " and committed only "
                            + std::to_string(committed->next));
  }
}

// -- what must hold -----------------------------------------------------------------------------

void service::check_ledger(const char* when, bool at_rest) {
  const auto sum = dispatcher_state_->ledger.total();
  if (!sum.balanced() || (at_rest && sum.in_flight > 0))
    time_.violate("ledger", std::string{"out of balance "} + when + ": "
                              + std::to_string(sum.fetched) + " fetched, "
                              + std::to_string(sum.published) + " published, "
                              + std::to_string(sum.dead_lettered) + " dead-lettered, "
                              + std::to_string(sum.handed_back) + " handed back, "
                              + std::to_string(sum.already_done) + " done already, "
                              + std::to_string(sum.in_flight) + " in flight");
  if (const auto wrong = dispatcher_state_->ledger.audit(); !wrong.empty())
    time_.violate("ledger", wrong);
}

uint64_t service::set_aside_jobs() const {
  if (dispatcher_state_ == nullptr)
    return 0;
  const auto& all = dispatcher_state_->publishing;
  return static_cast<uint64_t>(
    std::count_if(all.begin(), all.end(), [](const auto& x) { return x.second->set_aside; }));
}

void service::check_bounds() {
  const auto jobs = credit_->jobs(), bytes = credit_->bytes();
  if (jobs > max_jobs_in_flight || bytes > max_bytes_in_flight + largest_cost)
    time_.violate("P4", std::to_string(jobs) + " jobs of " + std::to_string(bytes)
                          + " bytes are in flight");
  // Each job that waits somewhere has credit, but those that are set aside.
  const auto& at = *dispatcher_state_;
  auto known = at.queue.size() + at.publishing.size() - set_aside_jobs();
  for (const auto& x : at.slots)
    known += x.running != nullptr;
  if (known > jobs)
    time_.violate("P4", "the dispatcher has " + std::to_string(known) + " jobs, with credit for "
                          + std::to_string(jobs));
  const auto pending = transactions_state_ != nullptr ? transactions_state_->pending.size()
                                                      : events_state_->pending_jobs;
  if (pending > max_jobs_in_flight || events_state_->event_bytes > max_event_bytes)
    time_.violate("P4", std::to_string(pending) + " results and dead letters and events of "
                          + std::to_string(events_state_->event_bytes)
                          + " bytes wait in the publisher");
}

/// A member is polled, gated or not; otherwise its group would go on without it.
void service::check_polls() {
  if (inner_ == nullptr)
    return;
  const auto since = std::max(inner_->polled_us(), stalled_until_us_);
  if (time_.now() - since > max_poll_interval_ms * 1'000)
    time_.violate("P5", "the consumer was not polled for "
                          + std::to_string((time_.now() - since) / 1'000) + " ms");
}

void service::check_not_finished_before(const actors::job_entry& x, const char* what) {
  const auto& source = *x.job.source;
  if (assignments_->was_finished(source.id, source.epoch))
    time_.violate("P3", messaging::to_string(source.id) + " " + what
                          + ", though the commit that epoch " + std::to_string(source.epoch)
                          + " began with has it as finished");
}

/// What may be what ends workers runs beside no other such job.
void service::check_suspects(uint32_t slot, const messaging::record& begun) {
  const attempted job{begun.id, begun.epoch};
  at_work_[slot] = job;
  if (!suspects_.contains(job))
    return;
  for (const auto& [other, x] : at_work_) {
    // One that hangs may have been given up already.
    const auto& running = dispatcher_state_->slots.at(other).running;
    if (other != slot && suspects_.contains(x) && running && running->job.source->id == x.first
        && running->job.source->epoch == x.second)
      time_.violate("suspects", messaging::to_string(job.first) + " is begun beside "
                                  + messaging::to_string(x.first)
                                  + ", and workers have ended with both");
  }
}

/// Deaths that jobs have brought about do not count for the restart intensity, but for those of
/// which it is not told yet.
void service::check_blame() {
  const auto exceeded = supervisor_state_->intensity_exceeded;
  if (!std::exchange(was_blamed_, exceeded) && exceeded) {
    const auto since = time_.now() - std::chrono::microseconds{restart_period}.count() - news_us;
    const auto own = workers_->own_deaths_since(since);
    if (own + time_.plan().slots <= restart_intensity)
      time_.violate("blame", "the restart intensity is exceeded by " + std::to_string(own)
                               + " deaths that are not of poison");
  }
}

void service::check() {
  if (wrappers_.dispatcher)
    wrappers_.dispatcher(*dispatcher_state_);
  check_blame();
  check_ledger("in between", false);
  check_bounds();
  check_polls();
  for (const auto& [what, x] : dispatcher_state_->publishing)
    check_not_finished_before(*x, "comes out");
  const auto open = dispatcher_state_->breaker->state() == supervision::breaker_state::open;
  openings_ += open && !was_open_;
  was_open_ = open;
}

bool service::is_whole() const {
  // A breaker that no job has closed yet rests in half-open.
  return phase_ == phase::running && !gave_up_ && workers_->serving() == time_.plan().slots
         && workers_->alive() == time_.plan().slots + 1 && credit_->jobs() == 0
         && dispatcher_state_->breaker->state() != supervision::breaker_state::open;
}

void service::check_rest() {
  if (phase_ != phase::running)
    return;
  check_ledger("at rest", true);
  if (credit_->jobs() > 0 || credit_->bytes() > 0)
    time_.violate("P4", "credit for " + std::to_string(credit_->jobs()) + " jobs of "
                          + std::to_string(credit_->bytes()) + " bytes was never given back");
  if (events_state_->pending_jobs > 0
      || (transactions_state_ != nullptr
          && (transactions_state_->pending_bytes > 0 || !transactions_state_->pending.empty())))
    time_.violate("P4", "the publisher counts what it does not have");
  uint64_t event_bytes = 0;
  for (const auto& x : events_state_->backlog)
    event_bytes += x.what.content->bytes();
  for (const auto& [token, x] : events_state_->in_flight)
    event_bytes += x.what.content->bytes();
  if (event_bytes != events_state_->event_bytes)
    time_.violate("P4", "the publisher counts " + std::to_string(events_state_->event_bytes)
                          + " bytes of events, and has " + std::to_string(event_bytes));
}

std::string service::describe() const {
  const auto x = dispatcher_state_->status();
  return "service " + std::to_string(number_) + ": phase="
         + std::to_string(static_cast<int>(phase_)) + " gave_up=" + std::to_string(gave_up_)
         + " queued=" + std::to_string(x.queued) + " running=" + std::to_string(x.running)
         + " slots_up=" + std::to_string(x.slots_up) + " breaker=" + x.breaker_reason + " trouble="
         + x.trouble + " publishing=" + std::to_string(dispatcher_state_->publishing.size())
         + " credit=" + std::to_string(credit_->jobs()) + " serving="
         + std::to_string(workers_->serving()) + " alive=" + std::to_string(workers_->alive())
         + " fork_server=" + std::to_string(workers_->server_alive()) + " ledger=" + x.ledger;
}

} // namespace ziyu::simulation
