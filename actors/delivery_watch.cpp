#include "actors/delivery_watch.hpp"

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;

breaker_input input(bool raised, std::string reason, supervision::circuit_breaker::numbers values) {
  return {supervision::circuit_breaker::trigger::publisher, raised, std::move(reason), std::nullopt,
          std::move(values)};
}

} // namespace

delivery_watch::news delivery_watch::fails(const std::string& reason, const backlog& x,
                                           clock::time_point now) {
  if (std::exchange(failing_, true))
    return std::nullopt;
  const auto silent = x.waits ? now - last_progress_ : clock::duration{};
  const auto silent_ms = std::chrono::duration_cast<std::chrono::milliseconds>(silent).count();
  return input(true, reason,
               {{"silent_ms", static_cast<double>(silent_ms)},
                {"pending_records", static_cast<double>(x.records)},
                {"pending_bytes", static_cast<double>(x.bytes)}});
}

delivery_watch::news delivery_watch::works(const set_aside& aside, clock::time_point now) {
  if (!failing_ || aside.results_held(now, 0ms))
    return std::nullopt;
  failing_ = false;
  return input(false, {}, {});
}

} // namespace ziyu::actors
