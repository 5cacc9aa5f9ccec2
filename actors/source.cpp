#include "actors/source.hpp"

#include "base/log.hpp"
#include "model/image_header.hpp"
#include "supervision/backoff.hpp"

#include <caf/send.hpp>

namespace ziyu::actors {

namespace {

/// The group waits for us while partitions go; other members stand still.
constexpr auto revoke_limit = std::chrono::seconds{5};

template <class... Ts>
struct overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
overloaded(Ts...) -> overloaded<Ts...>;

/// Memory that a worker will need for the pixels, from the image's header.
uint64_t decoded_bytes(std::string_view image) {
  auto size = model::read_image_size(image);
  return size ? uint64_t{size->width} * size->height * 3 : 0;
}

} // namespace

// -- one turn ---------------------------------------------------------------------

source_loop::source_loop(messaging::consumer& from, intake& credit, dispatcher_actor to,
                         messaging::job_limits limits, environment& env)
  : from_(from), credit_(credit), to_(std::move(to)), limits_(std::move(limits)), env_(env) {
  // nop
}

bool source_loop::turn(std::chrono::milliseconds limit) {
  const auto open = credit_.open();
  from_.gate(!open);
  // Gated, the wait is for credit: polling must go on, but it brings no record.
  auto event = from_.poll(open ? limit : std::chrono::milliseconds{0});
  auto go_on = true;
  auto idle = false;
  std::visit(overloaded{
               [&](messaging::nothing) { idle = true; },
               [&](messaging::record& x) { on_record(std::move(x)); },
               [&](messaging::partitions_assigned& x) { caf::anon_send(to_, std::move(x)); },
               [&](messaging::partitions_revoked& x) { on_revoked(std::move(x)); },
               [&](messaging::consumer_failed& x) {
                 go_on = x.reason.code != errc::kafka_fatal;
                 caf::anon_send(to_, std::move(x));
               },
               [&](messaging::consumer_recovered) { caf::anon_send(to_, atom::reachable{}); },
             },
             event);
  if (!open && idle)
    credit_.wait_open(limit);
  return go_on;
}

void source_loop::on_record(messaging::record x) {
  auto source = std::make_shared<const messaging::record>(std::move(x));
  fetched_job msg;
  msg.source = source;
  msg.fetched_us = env_.monotonic_us();
  msg.cost = source->bytes();
  if (auto job = messaging::decode_job(*source, limits_)) {
    const auto pixels = decoded_bytes(*job->image);
    if (pixels / 3 > limits_.max_pixels) {
      msg.reason = error{errc::image_too_large,
                         "the image's header announces " + std::to_string(pixels / 3)
                           + " pixels, jobs.max_pixels is " + std::to_string(limits_.max_pixels)};
    } else {
      msg.cost = job->bytes() + pixels;
      msg.job = std::make_shared<const messaging::job>(std::move(*job));
    }
  } else {
    msg.reason = std::move(job.error());
  }
  credit_.take(msg.cost);
  caf::anon_send(to_, std::move(msg));
}

void source_loop::on_revoked(messaging::partitions_revoked x) {
  auto handled = std::make_shared<std::promise<void>>();
  auto future = handled->get_future();
  caf::anon_send(to_, revocation{std::move(x), std::move(handled)});
  if (future.wait_for(revoke_limit) != std::future_status::ready)
    spdlog::warn("the dispatcher did not confirm a revocation within {} s; going on without",
                 revoke_limit.count());
  from_.finish_revoke();
}

// -- the thread -------------------------------------------------------------------

job_source::job_source(factory make, std::shared_ptr<intake> credit, dispatcher_actor to,
                       messaging::job_limits limits, environment& env)
  : make_(std::move(make)), credit_(std::move(credit)), to_(std::move(to)),
    limits_(std::move(limits)), env_(env), thread_([this] { run(); }) {
  // nop
}

job_source::~job_source() { stop(std::chrono::milliseconds{close_limit_ms_}); }

expected<void> job_source::store(const messaging::topic_partition& where, int64_t next) {
  std::lock_guard guard{mutex_};
  if (!consumer_)
    return fail(errc::revoked, "there is no consumer at present");
  return consumer_->store(where, next);
}

expected<void> job_source::commit(std::chrono::milliseconds limit) {
  std::lock_guard guard{mutex_};
  if (!consumer_)
    return fail(errc::revoked, "there is no consumer at present");
  return consumer_->commit(limit);
}

void job_source::stop(std::chrono::milliseconds limit) {
  close_limit_ms_ = limit.count();
  stopping_ = true;
  if (thread_.joinable())
    thread_.join();
}

void job_source::run() {
  supervision::backoff pause{std::chrono::milliseconds{200}, std::chrono::milliseconds{10'000}};
  while (!stopping_) {
    auto made = make_();
    if (!made) {
      spdlog::error("no Kafka consumer: {}", made.error().describe());
      caf::anon_send(to_, messaging::consumer_failed{made.error()});
    } else {
      {
        std::lock_guard guard{mutex_};
        consumer_ = std::move(*made);
      }
      source_loop loop{*consumer_, *credit_, to_, limits_, env_};
      while (!stopping_ && loop.turn(std::chrono::milliseconds{50}))
        pause.reset();
      consumer_->close(std::chrono::milliseconds{close_limit_ms_});
      std::lock_guard guard{mutex_};
      consumer_.reset();
    }
    // After a fatal error: a fresh client, but not in a tight loop.
    auto until = std::chrono::steady_clock::now() + pause.next(env_.random());
    while (!stopping_ && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
  }
}

} // namespace ziyu::actors
