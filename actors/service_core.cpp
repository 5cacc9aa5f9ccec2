#include "actors/service_core.hpp"

#include "actors/decoder.hpp"
#include "base/check.hpp"

#include <caf/actor_cast.hpp>
#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

/// What an attempt may take beyond its job's timeout, until its slot is idle.
constexpr auto attempt_margin = 5s;

} // namespace

void service_core::source_holder::set(const std::shared_ptr<record_source>& x) {
  std::lock_guard guard{mutex_};
  source_ = x;
}

std::shared_ptr<record_source> service_core::source_holder::get() const {
  std::lock_guard guard{mutex_};
  return source_.lock();
}

// -- wiring -----------------------------------------------------------------------------------

service_core::service_core(caf::actor_system& system, std::shared_ptr<reporter> report,
                           service_settings x)
  : system_(system), report_(std::move(report)), credit_(std::make_shared<intake>(x.credit)),
    job_timeout_(x.jobs.job_timeout) {
  x.jobs.slots = x.pool.slots;
  x.pool.judge.workers = x.pool.slots;
  x.pool.judge.budget_bytes = x.pool.healing.budget_bytes;
  spawn_all(std::move(x));
}

service_core::~service_core() { require(!dispatcher_, "the owner of a service ends its actors"); }

void service_core::spawn_all(service_settings x) {
  auto jobs = std::move(x.jobs);
  jobs.credit = credit_;
  jobs.report = report_;
  if (x.transactions)
    jobs.guarantee = messaging::guarantee::exactly_once;
  connect_to_source(jobs);
  decoder_ = x.decoder_has_thread ? system_.spawn<caf::detached>(decoder, jobs.limits)
                                  : system_.spawn(decoder, jobs.limits);
  jobs.make_neighbours = [this, &x](const dispatcher_actor& self) {
    dispatcher_ = self;
    spawn_publishers(std::move(x.records), std::move(x.transactions));
    spawn_supervisor(std::move(x.pool), std::move(x.slot), std::move(x.spawn_slot));
    return dispatcher_neighbours{publisher_, supervisor_, decoder_};
  };
  system_.spawn<actors::dispatcher>(std::move(jobs));
}

void service_core::connect_to_source(dispatcher_settings& x) {
  x.store = [source = source_](const messaging::topic_partition& where,
                               const messaging::commit_point& point) -> expected<void> {
    if (const auto target = source->get())
      return target->store(where, point);
    return fail(errc::revoked, "there is no source of records at present");
  };
  x.membership = [source = source_](const auto& epochs) {
    const auto target = source->get();
    return target ? target->membership(epochs) : nullptr;
  };
}

void service_core::spawn_publishers(publisher_settings records,
                                    std::optional<transactional_publisher_settings> transactions) {
  records.dispatcher = dispatcher_;
  records.report = report_;
  // Events are not part of transactions.
  events_ = publisher_ = system_.spawn(actors::publisher, std::move(records));
  if (transactions) {
    transactions->dispatcher = dispatcher_;
    transactions->report = report_;
    publisher_ = system_.spawn(transactional_publisher, std::move(*transactions));
  }
  report_->connect(events_);
}

void service_core::spawn_supervisor(
  supervisor_settings pool, inference_settings slot,
  std::function<inference_actor(const inference_settings&)> spawn_slot) {
  if (!spawn_slot)
    spawn_slot = [&system = system_](const inference_settings& x) {
      return system.spawn(inference, x);
    };
  slot.dispatcher = dispatcher_;
  pool.report = report_;
  pool.dispatcher = dispatcher_;
  auto make = [slot, spawn_slot = std::move(spawn_slot)](uint32_t number, supervisor_actor boss) {
    auto x = slot;
    x.slot = number;
    x.supervisor = std::move(boss);
    return spawn_slot(x);
  };
  supervisor_ = system_.spawn(actors::supervisor, std::move(pool),
                              std::function<inference_actor(uint32_t, supervisor_actor)>{make});
}

void service_core::attach(const std::shared_ptr<record_source>& x) { source_->set(x); }

// -- stop and maintenance ---------------------------------------------------------------------

void service_core::run_stages(std::vector<stop_stage> stages, on_stage each, on_end ended) {
  stop_program_settings x;
  x.stages = std::move(stages);
  x.credit = credit_;
  x.dispatcher = dispatcher_;
  x.publisher = publisher_;
  x.supervisor = supervisor_;
  x.source = source_->get();
  x.env = &report_->env();
  x.on_stage = std::move(each);
  x.on_end = std::move(ended);
  system_.spawn(stop_program, std::move(x));
}

void service_core::resume(std::function<void(bool)> done) {
  const auto limit = 2 * job_timeout_ + attempt_margin; // of a batch
  system_.spawn(
    [dispatcher = dispatcher_, limit, done = std::move(done)](caf::event_based_actor* self) {
      self->request(dispatcher, limit, atom::resume{})
        .then([done](bool resumed) { done(resumed); }, [done](const caf::error&) { done(false); });
    });
}

std::vector<caf::actor> service_core::end() {
  report_->disconnect();
  std::vector<caf::actor> all{
    caf::actor_cast<caf::actor>(supervisor_), caf::actor_cast<caf::actor>(dispatcher_),
    caf::actor_cast<caf::actor>(decoder_), caf::actor_cast<caf::actor>(publisher_)};
  if (events_ != publisher_)
    all.push_back(caf::actor_cast<caf::actor>(events_));
  for (const auto& x : all)
    caf::anon_send_exit(x, caf::exit_reason::user_shutdown);
  supervisor_ = supervisor_actor{};
  dispatcher_ = dispatcher_actor{};
  decoder_ = decoder_actor{};
  publisher_ = events_ = publisher_actor{};
  return all;
}

} // namespace ziyu::actors
