#include "actors/intake.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ziyu::actors {

bool intake::open() const {
  std::lock_guard guard{mutex_};
  return open_locked();
}

void intake::take(uint64_t jobs, uint64_t bytes) {
  std::lock_guard guard{mutex_};
  jobs_ += jobs;
  bytes_ += bytes;
  window_.used(jobs_);
  note();
}

void intake::give(uint64_t jobs, uint64_t bytes) {
  std::lock_guard guard{mutex_};
  require(jobs <= jobs_ && bytes <= bytes_, "more credit is given back than was taken");
  jobs_ -= jobs;
  bytes_ -= bytes;
  note();
}

void intake::hold(bool on) {
  std::lock_guard guard{mutex_};
  held_ = on;
  note();
}

void intake::shrink_to(double share) {
  std::lock_guard guard{mutex_};
  share_ = share;
  grant();
}

void intake::starve() {
  std::lock_guard guard{mutex_};
  if (held_ || jobs_ < granted_.jobs)
    return;
  window_.grow();
  grant();
}

void intake::end_period() {
  std::lock_guard guard{mutex_};
  window_.end_period(jobs_);
  grant();
}

void intake::grant() {
  const auto part = [this](uint64_t whole) {
    return std::clamp<uint64_t>(
      static_cast<uint64_t>(std::llround(static_cast<double>(whole) * share_)), 1,
      std::max<uint64_t>(whole, 1));
  };
  granted_ = {part(window_.size()), part(limits_.bytes)};
  note();
}

intake::limits intake::granted() const {
  std::lock_guard guard{mutex_};
  return granted_;
}

void intake::hold_partitions(std::set<messaging::topic_partition> x) {
  std::lock_guard guard{mutex_};
  held_partitions_ = std::move(x);
}

std::set<messaging::topic_partition> intake::held_partitions() const {
  std::lock_guard guard{mutex_};
  return held_partitions_;
}

void intake::give_up_prefetched(bool on) {
  std::lock_guard guard{mutex_};
  prefetched_given_up_ = on;
  note();
}

bool intake::prefetched_given_up() const {
  std::lock_guard guard{mutex_};
  return prefetched_given_up_;
}

void intake::tell_logs(std::map<messaging::topic_partition, log_view> x) {
  std::lock_guard guard{mutex_};
  logs_ = std::move(x);
}

std::map<messaging::topic_partition, intake::log_view> intake::logs() const {
  std::lock_guard guard{mutex_};
  return logs_;
}

void intake::on_open(std::function<void()> then) {
  std::lock_guard guard{mutex_};
  on_open_ = std::move(then);
}

void intake::note() {
  const auto opens = !std::exchange(was_open_, open_locked()) && was_open_;
  if (opens && on_open_)
    on_open_();
}

uint64_t intake::jobs() const {
  std::lock_guard guard{mutex_};
  return jobs_;
}

uint64_t intake::bytes() const {
  std::lock_guard guard{mutex_};
  return bytes_;
}

credit::credit(std::shared_ptr<intake> from, uint64_t bytes)
  : from_(std::move(from)), bytes_(bytes) {
  from_->take(1, bytes_);
}

credit& credit::operator=(credit other) noexcept {
  std::swap(from_, other.from_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

credit::~credit() {
  if (from_)
    from_->give(1, bytes_);
}

void credit::grow(uint64_t bytes) {
  from_->take(0, bytes);
  bytes_ += bytes;
}

void credit::shrink(uint64_t bytes) {
  require(bytes <= bytes_, "a job gives back no more credit than it holds");
  from_->give(0, bytes);
  bytes_ -= bytes;
}

} // namespace ziyu::actors
