#include "tests/simulation/service.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>

namespace ziyu::simulation {

using namespace std::chrono_literals;

namespace {

constexpr uint64_t grace_ms = 1'000;
constexpr actors::stop_limits stop_times{.gate_ms = 1'000,
                                         .drain_ms = 5'000,
                                         .flush_ms = 2'000,
                                         .commit_ms = 2'000,
                                         .close_ms = 2'000,
                                         .workers_ms = grace_ms + 3'000};
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

/// What `job_source` is on its thread: the consumer's side of the service.
class service::source_port : public actors::record_source {
public:
  source_port(service& owner, std::shared_ptr<bool> dead) : owner_(owner), dead_(std::move(dead)) {}

  expected<void> store(const messaging::topic_partition& where,
                       messaging::commit_point point) override {
    return *dead_ ? fail(errc::revoked, "there is no service any more")
                  : owner_.store(where, point);
  }

  std::shared_ptr<const messaging::group_membership> membership(
    const std::map<messaging::topic_partition, uint64_t>& epochs) override {
    return *dead_ || !owner_.consumer_ ? nullptr : owner_.consumer_->membership(epochs);
  }

  void commit(std::chrono::milliseconds limit, std::function<void(expected<void>)> done) override {
    if (*dead_)
      return;
    const expected<void> missing = fail(errc::revoked, "there is no consumer at present");
    if (!owner_.consumer_)
      return done(missing);
    owner_.commit_ = [&x = owner_, limit, missing, done = std::move(done)] {
      done(x.consumer_ ? x.consumer_->commit(limit) : missing);
    };
  }

  void close(std::chrono::milliseconds, std::function<void(bool)> done) override {
    if (!*dead_)
      owner_.close_ = [done = std::move(done)] { done(true); };
  }

private:
  service& owner_;
  std::shared_ptr<bool> dead_;
};

service::service(timeline& time, broker& where, caf::actor_system& sys,
                 const port_wrappers& wrappers, uint64_t number, uint64_t place, environment& env)
  : time_(time), broker_(where), sys_(sys), wrappers_(wrappers), number_(number), place_(place),
    env_(env),
    report_(std::make_shared<actors::reporter>(env_, "service-" + std::to_string(number),
                                               events_topic, std::make_shared<actors::metrics>())),
    workers_(std::make_shared<simulated_workers>(time, where.jobs(), sys)) {
  time_.note("service {} starts", number_);
  core_.emplace(sys_, report_, to_service_settings());
  watch_actors();
  watch_jobs();
  reopen_.emplace(200ms, 10'000ms);
  open_source();
}

service::~service() {
  time_.note("service {} is gone", number_);
  *dead_ = true;
  life_.renew();
  if (inner_ != nullptr)
    inner_->vanish();
  loop_.reset();
  consumer_.reset();
  workers_->release();
  core_->end();
}

// -- the core and its ports ---------------------------------------------------------------------

actors::service_settings service::to_service_settings() {
  actors::service_settings x;
  x.credit = {max_jobs_in_flight, max_bytes_in_flight};
  x.jobs.results_topic = results_topic;
  x.jobs.dead_letters_topic = dead_letters_topic;
  x.jobs.max_attempts = max_attempts;
  x.jobs.max_batch = time_.plan().max_batch;
  x.jobs.job_timeout = std::chrono::milliseconds{job_timeout_ms};
  x.jobs.order = static_cast<actors::ordering>(time_.plan().order);
  x.jobs.retry_backoff = 50ms;
  x.jobs.retry_backoff_max = 1s;
  x.jobs.limits.max_pixels = max_pixels;
  x.records.make = producers();
  x.records.max_event_bytes = max_event_bytes;
  if (time_.plan().exactly_once) {
    x.transactions.emplace();
    x.transactions->make = transactional_producers();
  }
  x.pool = to_supervisor_settings();
  return x;
}

actors::producer_factory service::producers() {
  auto make = [this, dead = dead_](messaging::producer::report_handler report)
    -> expected<std::unique_ptr<messaging::producer>> {
    if (*dead || time_.strikes(fault::producer_missing, 2))
      return fail(errc::kafka, "no producer, by the seed");
    // Records of a silent topic are set aside while the producer still holds them.
    auto most = [this] { return max_jobs_in_flight + set_aside_jobs(); };
    return std::make_unique<simulated_producer>(time_, broker_, std::move(report), std::move(most),
                                                dead);
  };
  return [this, dead = dead_, make](messaging::producer::report_handler report)
           -> expected<std::unique_ptr<messaging::producer>> {
    if (*dead || !wrappers_.producer)
      return make(std::move(report));
    return wrappers_.producer(make, std::move(report));
  };
}

actors::transactional_producer_factory service::transactional_producers() {
  return [this, dead = dead_](messaging::transactional_producer::report_handler report)
           -> expected<std::unique_ptr<messaging::transactional_producer>> {
    if (*dead || time_.strikes(fault::producer_missing, 2))
      return fail(errc::kafka, "no producer, by the seed");
    return std::make_unique<simulated_transactional_producer>(time_, broker_, std::move(report),
                                                              place_, dead);
  };
}

actors::supervisor_settings service::to_supervisor_settings() {
  actors::supervisor_settings s;
  s.slots = time_.plan().slots;
  s.standbys = 1;
  s.start_timeout = 3s;
  s.grace = std::chrono::milliseconds{grace_ms};
  s.healing.budget_bytes = budget_bytes;
  s.healing.hard_limit_bytes = hard_limit_bytes;
  if (time_.plan().max_batch > 1) { // a young worker gets no batches, and few grow old here
    s.judge.warmup_jobs = 1;
    s.judge.min_jobs = 0;
  }
  s.restart_intensity = restart_intensity;
  s.restart_period = restart_period;
  s.model = "models/digits/1";
  s.host = workers_;
  s.on_model = [this, dead = dead_](const events::model_version& x) {
    if (*dead)
      return;
    time_.note("service {} serves version {}", number_, std::string_view{x.version});
    rollouts_ += std::exchange(version_, x.version) != x.version;
  };
  s.on_fatal = [this, dead = dead_](error x) {
    if (*dead)
      return;
    time_.note("service {} gives up: {}", number_, std::string_view{x.message});
    gave_up_ = true;
  };
  if (wrappers_.supervisor)
    wrappers_.supervisor(s);
  return s;
}

/// The promises are checked in the states of the actors.
void service::watch_actors() {
  dispatcher_state_ = state_of<actors::dispatcher_state>(core_->dispatcher());
  supervisor_state_ = state_of<actors::supervisor_state>(core_->supervisor());
  events_state_ = state_of<actors::publisher_state>(core_->events());
  if (time_.plan().exactly_once)
    transactions_state_ = state_of<actors::transactional_publisher_state>(
      caf::actor_cast<actors::transactional_publisher_actor>(core_->publisher()));
}

/// Follows which job is at which worker, for the promises about suspects.
void service::watch_jobs() {
  workers_->on_begin = [this](uint32_t slot, const job_truth& job, size_t batch) {
    const auto x = running_at(slot, job.content.id);
    // None: the dispatcher has given this attempt up, and it is too late to say whose it was.
    if (!x)
      return;
    check_not_finished_before(*x, "is begun");
    check_suspects(slot, *x->job.source, batch);
  };
  workers_->on_end = [this](uint32_t slot, const job_truth& job, bool answered) {
    auto& here = at_work_[slot];
    const auto i = std::find_if(here.begin(), here.end(),
                                [&job](const attempted& x) { return x.first == job.content.id; });
    if (i == here.end())
      return;
    if (answered)
      suspects_.erase(*i);
    else
      suspects_.insert(*i);
    here.erase(i);
  };
}

/// The job that the dispatcher has running on a slot; null if it has not.
const actors::job_entry* service::running_at(uint32_t slot, const messaging::record_id& id) const {
  for (const auto& x : dispatcher_state_->slots.at(slot).running)
    if (x->job.source->id == id)
      return x.get();
  return nullptr;
}

// -- the source, as `job_source` runs it on its thread ------------------------------------------

void service::open_source() {
  source_ = std::make_shared<source_port>(*this, dead_);
  core_->attach(source_);
  closed_ = false;
  open_consumer();
  poll_later(0);
}

expected<void> service::store(const messaging::topic_partition& at,
                              const messaging::commit_point& point) {
  const auto ok = consumer_ ? consumer_->store(at, point)
                            : fail(errc::revoked, "there is no consumer at present");
  if (phase_ != phase::running && (ok || closed_))
    progress_[{at.partition, dispatcher_state_->ledger.epoch_of(at).value_or(0)}] = point.next;
  return ok;
}

void service::open_consumer() {
  auto made = std::make_unique<simulated_consumer>(time_, broker_, assignments_);
  inner_ = made.get();
  consumer_ = std::move(made);
  if (wrappers_.consumer)
    consumer_ = wrappers_.consumer(std::move(consumer_));
  loop_.emplace(*consumer_, core_->credit(), core_->dispatcher(), env_, &watchdog_, report_);
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
  const auto& credit = *core_->credit();
  const auto jobs = credit.jobs();
  const auto may_fetch = credit.open();
  const auto go_on = loop_->turn(0ms);
  if (!serve_stop(go_on))
    return;
  if (credit.jobs() > jobs && !may_fetch)
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
  poll_later(credit.jobs() > jobs ? time_.chance().between(20, 2'000)
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

void service::roll_out(uint64_t version) {
  caf::anon_send(core_->supervisor(),
                 actors::rollout_request{"models/digits/" + std::to_string(version)});
}

// -- stop and maintenance -----------------------------------------------------------------------

void service::stop() {
  if (phase_ == phase::draining)
    to_stop_ = true; // as a signal that waits
  if (phase_ != phase::running && phase_ != phase::drained)
    return;
  time_.note("service {} stops", number_);
  run_stages(actors::stages_of_stop(stop_times), phase::stopping);
}

void service::begin_maintenance() {
  if (phase_ != phase::running)
    return;
  time_.note("service {} drains for maintenance", number_);
  to_resume_ = false;
  run_stages(actors::stages_out_of_group(stop_times), phase::draining);
}

void service::end_maintenance() {
  to_resume_ = true;
  if (phase_ == phase::drained)
    resume();
}

void service::run_stages(std::vector<actors::stop_stage> stages, phase present) {
  phase_ = present;
  stages_over_ = false;
  left_.clear();
  progress_.clear();
  if (wrappers_.stop)
    wrappers_.stop(stages);
  core_->run_stages(
    std::move(stages),
    [this, dead = dead_](const auto& stage) {
      if (!*dead)
        check_stage(stage);
    },
    [this, dead = dead_](const auto& report) {
      if (*dead)
        return;
      check_committed(report);
      stages_over_ = true;
      if (phase_ == phase::stopping) {
        phase_ = phase::ended;
        time_.note("service {} has ended", number_);
      } else
        finish_drain();
    });
}

/// The service waits for the poll thread's end, which may be later than the last stage.
void service::finish_drain() {
  if (phase_ != phase::draining || !stages_over_ || !closed_)
    return;
  phase_ = phase::drained;
  source_.reset();
  time_.note("service {} is drained", number_);
  if (to_stop_)
    stop();
  else if (to_resume_)
    resume();
}

void service::resume() {
  time_.note("service {} resumes", number_);
  core_->resume([this, dead = dead_](bool ok) {
    if (*dead || phase_ != phase::drained)
      return;
    if (!ok) // an attempt of before has not ended
      return time_.after_ms(1'000, life_.guard([this] {
        if (phase_ == phase::drained)
          resume();
      }));
    ++resumptions_;
    phase_ = phase::running;
    open_source();
  });
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
  finish_drain();
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

/// Who leaves the group in good order leaves nothing to be done again.
void service::check_committed(const events::stop_stages& x) {
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

std::string service::describe() const {
  const auto x = dispatcher_state_->status();
  return "service " + std::to_string(number_) + ": phase="
         + std::to_string(static_cast<int>(phase_)) + " gave_up=" + std::to_string(gave_up_)
         + " queued=" + std::to_string(x.queued) + " running=" + std::to_string(x.running)
         + " slots_up=" + std::to_string(x.slots_up) + " breaker=" + x.breaker_reason + " trouble="
         + x.trouble + " publishing=" + std::to_string(dispatcher_state_->publishing.size())
         + " credit=" + std::to_string(core_->credit()->jobs()) + " serving="
         + std::to_string(workers_->serving()) + " alive=" + std::to_string(workers_->alive())
         + " fork_server=" + std::to_string(workers_->server_alive())
         + " ledger=" + to_json(x.ledger).dump();
}

} // namespace ziyu::simulation
