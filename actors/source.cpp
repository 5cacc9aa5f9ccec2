#include "actors/source.hpp"

#include "base/log.hpp"

#include <caf/send.hpp>

namespace ziyu::actors {

namespace {

/// The group waits for us while partitions are revoked; other members wait, too.
constexpr auto revoke_limit = std::chrono::seconds{5};

/// A consumer that worked for so long counts as good: the next one is made at once.
constexpr auto settled_after = std::chrono::seconds{60};

constexpr int64_t watch_interval_us = 5'000'000;

/// Records in a message to the dispatcher.
constexpr size_t most_together = 256;

/// Time for a seek.
constexpr std::chrono::milliseconds seek_limit{5'000};

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
overloaded(Ts...) -> overloaded<Ts...>;

} // namespace

// -- one turn ---------------------------------------------------------------------

source_loop::source_loop(messaging::consumer& from, std::shared_ptr<intake> credit,
                         dispatcher_actor to, environment& env, messaging::stall_watchdog* watchdog,
                         std::shared_ptr<reporter> report)
  : from_(from), credit_(std::move(credit)), to_(std::move(to)), env_(env), watchdog_(watchdog),
    report_(std::move(report)), last_turn_us_(env.monotonic_us()),
    next_watch_us_(last_turn_us_ + watch_interval_us) {
  if (watchdog_ != nullptr)
    open_us_ = std::chrono::microseconds{watchdog_->now()}.count();
  credit_->on_open([this] { from_.wake(); });
}

source_loop::~source_loop() { credit_->on_open({}); }

bool source_loop::turn(std::chrono::milliseconds limit) {
  if (handing_over_)
    return finish_hand_over(limit);
  const auto open = credit_->open();
  from_.gate(!open);
  if (auto held = credit_->held_partitions(); held != held_) {
    from_.hold(held);
    held_ = std::move(held);
  }
  if (const auto wanted = credit_->prefetched_given_up(); wanted != paused_)
    from_.pause(paused_ = wanted);
  // Gated, this brings no record. Credit wakes it.
  auto event = from_.poll(limit);
  // Records that are here already go together: a message for each would wake the dispatcher for it.
  fetched_jobs together;
  while (const auto x = std::get_if<messaging::record>(&event)) {
    together.jobs.push_back(to_job(std::move(*x)));
    event = messaging::nothing{};
    if (together.jobs.size() < most_together && credit_->open())
      event = from_.poll(std::chrono::milliseconds{0});
  }
  if (!together.jobs.empty())
    caf::anon_send(to_, std::move(together));
  const auto go_on = on_event(event);
  return watch(open) && go_on;
}

/// False when the consumer is unusable.
bool source_loop::on_event(messaging::consumer_event& event) {
  auto go_on = true;
  std::visit(overloaded{
               [](messaging::nothing) {},
               [](messaging::record&) {},
               [&](messaging::partitions_assigned& x) {
                 held_.reset(); // the new queues are not held
                 caf::anon_send(to_, std::move(x));
               },
               [&](messaging::partitions_revoked& x) { hand_over(std::move(x), false); },
               [&](messaging::offsets_committed& x) { caf::anon_send(to_, std::move(x)); },
               [&](messaging::records_lost& x) { on_records_lost(x); },
               [&](messaging::consumer_failed& x) {
                 go_on = x.reason.code != errc::kafka_fatal;
                 caf::anon_send(to_, std::move(x));
               },
               [&](messaging::consumer_recovered) { caf::anon_send(to_, atom::reachable{}); },
             },
             event);
  return go_on;
}

bool source_loop::watch(bool open) {
  const auto now = env_.monotonic_us();
  const auto passed = now - std::exchange(last_turn_us_, now);
  if (open)
    open_us_ += passed;
  // Not while partitions are revoked: a remedy that cannot be applied would count as tried.
  if (watchdog_ == nullptr || handing_over_ || now < next_watch_us_)
    return true;
  next_watch_us_ = now + watch_interval_us;
  const auto views = from_.view();
  std::map<messaging::topic_partition, intake::log_view> logs;
  for (const auto& x : views)
    logs[x.where] = {x.position, x.log_end};
  credit_->tell_logs(std::move(logs));
  auto go_on = true;
  for (const auto& x : watchdog_->observe(std::chrono::milliseconds{open_us_ / 1000}, views))
    go_on = go_on && (handing_over_ || remedy(x, views));
  report_->stats().refetched_bytes.Set(static_cast<double>(from_.refetched_bytes()));
  return go_on;
}

/// False when a fresh consumer is to be made.
bool source_loop::remedy(const messaging::stall_watchdog::finding& x,
                         const std::vector<messaging::partition_view>& views) {
  using remedy = messaging::stall_watchdog::remedy;
  report_->emit(events::consumer_stalled{.escalates = x.what == remedy::escalate,
                                         .topic = x.where.topic,
                                         .partition = x.where.partition,
                                         .offset = x.position,
                                         .lag_records = static_cast<int64_t>(x.lag),
                                         .silent_ms = x.silent.count(),
                                         .remedy = std::string{messaging::to_string(x.what)}});
  switch (x.what) {
  case remedy::seek:
    if (auto ok = from_.seek(x.where, x.position, seek_limit); !ok)
      spdlog::warn("{}", ok.error().describe());
    return true;
  case remedy::reopen: {
    // In good order, unlike after an error.
    messaging::partitions_revoked all;
    for (const auto& view : views) {
      all.epoch = std::max(all.epoch, view.epoch);
      all.partitions.push_back(view.where);
    }
    hand_over(std::move(all), true);
    return true;
  }
  case remedy::escalate:
    caf::anon_send(to_, messaging::consumer_failed{
                          {errc::unavailable,
                           x.where.topic + "-" + std::to_string(x.where.partition)
                             + (x.known ? " has records but brings none, also after a seek and "
                                          "with a fresh client"
                                        : ": no broker tells what is committed for it")}});
    return true;
  }
  return true;
}

fetched_job source_loop::to_job(messaging::record x) {
  fetched_job result;
  result.credit = std::make_shared<credit>(credit_, x.bytes());
  result.fetched_us = env_.monotonic_us();
  result.source = std::make_shared<const messaging::record>(std::move(x));
  return result;
}

void source_loop::on_records_lost(const messaging::records_lost& x) {
  if (!report_)
    return;
  report_->stats().lost_to_retention.Increment(static_cast<double>(x.past - x.from));
  report_->emit(events::records_lost_to_retention{.topic = x.where.topic,
                                                  .partition = x.where.partition,
                                                  .first_offset = x.from,
                                                  .records_at_most = x.past - x.from,
                                                  .log_start_offset = x.log_start});
}

/// Tells the dispatcher, which answers when finished offsets have been stored.
void source_loop::hand_over(messaging::partitions_revoked x, bool reopen) {
  auto handled = std::make_shared<std::promise<void>>();
  handing_over_ = departure{handled->get_future(),
                            env_.monotonic_us() + std::chrono::microseconds{revoke_limit}.count(),
                            reopen};
  caf::anon_send(to_, revocation{std::move(x), std::move(handled)});
}

/// Nothing is polled meanwhile: the group waits for us. False when a fresh consumer is to be
/// made.
bool source_loop::finish_hand_over(std::chrono::milliseconds limit) {
  if (handing_over_->handled.wait_for(limit) != std::future_status::ready) {
    if (env_.monotonic_us() < handing_over_->until_us)
      return true;
    spdlog::warn(
      "the dispatcher did not confirm a revocation within {} s; going on without an answer",
      revoke_limit.count());
  }
  const auto reopen = handing_over_->reopen;
  handing_over_.reset();
  if (reopen)
    return false;
  from_.finish_revoke();
  return true;
}

// -- the thread -------------------------------------------------------------------

job_source::job_source(factory make, std::shared_ptr<intake> credit, dispatcher_actor to,
                       environment& env, std::shared_ptr<reporter> report)
  : make_(std::move(make)), credit_(std::move(credit)), to_(std::move(to)), env_(env),
    report_(std::move(report)), thread_([this] { run(); }) {
  // nop
}

job_source::~job_source() {
  close(std::chrono::milliseconds{close_limit_ms_}, [](bool) {});
  thread_.join();
}

expected<void> job_source::store(const messaging::topic_partition& where,
                                 messaging::commit_point point) {
  std::lock_guard guard{mutex_};
  if (!consumer_)
    return fail(errc::revoked, "there is no consumer at present");
  return consumer_->store(where, std::move(point));
}

std::shared_ptr<const messaging::group_membership> job_source::membership(
  const std::map<messaging::topic_partition, uint64_t>& epochs) {
  std::lock_guard guard{mutex_};
  return consumer_ ? consumer_->membership(epochs) : nullptr;
}

void job_source::commit(std::chrono::milliseconds limit, std::function<void(expected<void>)> done) {
  const char* why = nullptr;
  {
    std::lock_guard guard{mutex_};
    if (!consumer_)
      why = "there is no consumer at present";
    else if (asked_)
      why = "another commit is under way";
    else
      asked_ = commit_request{limit, done};
  }
  if (why != nullptr)
    done(fail(errc::revoked, why));
}

void job_source::commit_if_asked() {
  std::optional<commit_request> x;
  {
    std::lock_guard guard{mutex_};
    x = std::exchange(asked_, std::nullopt);
  }
  if (x)
    x->done(consumer_->commit(x->limit));
}

void job_source::close(std::chrono::milliseconds limit, std::function<void(bool)> done) {
  const auto until = std::chrono::steady_clock::now() + limit;
  {
    std::lock_guard guard{mutex_};
    close_limit_ms_ = limit.count();
    stopping_ = true;
    if (!ended_) {
      on_end_.emplace_back(
        [until, done = std::move(done)] { done(std::chrono::steady_clock::now() < until); });
      return;
    }
  }
  done(true);
}

void job_source::run() {
  supervision::backoff pause{std::chrono::milliseconds{200}, std::chrono::milliseconds{10'000}};
  messaging::stall_watchdog watchdog{stall_patience};
  while (!stopping_) {
    if (auto made = make_()) {
      run_consumer(std::move(*made), pause, watchdog);
    } else {
      spdlog::error("no Kafka consumer: {}", made.error().describe());
      caf::anon_send(to_, messaging::consumer_failed{made.error()});
    }
    // After a fatal error: a fresh client, but not in a tight loop.
    const auto until = std::chrono::steady_clock::now() + pause.next(env_.random());
    while (!stopping_ && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
  std::vector<std::function<void()>> waiting;
  {
    std::lock_guard guard{mutex_};
    ended_ = true;
    waiting.swap(on_end_);
  }
  for (const auto& each : waiting)
    each();
}

void job_source::run_consumer(std::unique_ptr<messaging::consumer> made,
                              supervision::backoff& pause, messaging::stall_watchdog& watchdog) {
  {
    std::lock_guard guard{mutex_};
    consumer_ = std::move(made);
  }
  const auto begun = std::chrono::steady_clock::now();
  {
    source_loop loop{*consumer_, credit_, to_, env_, report_ ? &watchdog : nullptr, report_};
    while ((!stopping_ || loop.handing_over()) && loop.turn(std::chrono::milliseconds{50}))
      commit_if_asked();
  }
  // A consumer that ends again and again (say, at a batch with a wrong checksum, which every client
  // meets) is not made anew at once each time.
  if (std::chrono::steady_clock::now() - begun > settled_after)
    pause.reset();
  consumer_->close(std::chrono::milliseconds{close_limit_ms_});
  std::optional<commit_request> unanswered;
  {
    std::lock_guard guard{mutex_};
    consumer_.reset();
    unanswered = std::exchange(asked_, std::nullopt);
  }
  if (unanswered)
    unanswered->done(fail(errc::revoked, "the consumer has ended"));
}

} // namespace ziyu::actors
