#include "supervision/pool/slot.hpp"

#include "base/check.hpp"

#include <utility>

namespace ziyu::supervision {

events::worker_replaced replacement::to_event() const {
  return {.worker = evidence,
          .cause = cause,
          .reason = reason,
          .new_generation = new_generation,
          .new_pid = new_pid,
          .bytes_recovered = bytes_recovered(),
          .ms = ms()};
}

void replacement::correct(uint64_t worker, const std::string& other_cause,
                          const std::string& other_reason) {
  if (old_worker != worker)
    return;
  cause = other_cause;
  reason = other_reason;
}

void slot::want_version(uint64_t version) {
  if (std::exchange(version_, version) != version)
    history_.forget();
}

void slot::want(replacement x) {
  require(!wanted_, "a slot wants two replacements at once");
  require(x.slot == number_, "a slot is to want another slot's replacement");
  wanted_ = std::move(x);
}

void slot::correct(uint64_t worker, const std::string& cause, const std::string& reason) {
  if (wanted_)
    wanted_->correct(worker, cause, reason);
}

uint64_t slot::link(uint64_t worker) {
  require(linked_ == 0, "a second worker is given to a slot while the first is on its way");
  require(worker != 0 && worker != worker_, "a slot is given no worker, or the one that it has");
  linked_ = worker;
  return ++generation_;
}

void slot::unlink(uint64_t worker) {
  if (linked_ == worker)
    linked_ = 0;
}

slot::switched slot::switch_over() {
  require(linked_ != 0, "a slot switches to no worker");
  return {std::exchange(worker_, std::exchange(linked_, 0)), std::exchange(wanted_, std::nullopt)};
}

void slot::lose_worker() {
  require(worker_ != 0, "a slot loses a worker that it does not have");
  worker_ = 0;
}

} // namespace ziyu::supervision
