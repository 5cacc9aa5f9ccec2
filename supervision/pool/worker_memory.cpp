#include "supervision/pool/worker_memory.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ziyu::supervision {

namespace {

/// Contradictions in a row after which a worker's reports count as false.
constexpr uint32_t max_lies = 3;

/// A difference that page granularity, a heap dump and the kernel's huge pages can explain.
constexpr uint64_t honest_difference = 64u << 20;

/// Readings in a row that fall into jobs; then the worker is held for a reading without one.
constexpr uint32_t max_readings_in_jobs = 3;

} // namespace

void worker_memory::ready(const wire::memory_reading& said) {
  live_ = live_baseline_ = said.live;
  gpu_reserved_ = gpu_baseline_ = said.gpu_reserved;
}

void worker_memory::after_job(const memory_report& x) {
  jobs_ += x.jobs.size();
  uint64_t decoded = 0;
  for (const auto& in : x.jobs) {
    encoded_sum_ += static_cast<double>(in.encoded_bytes);
    decoded += in.decoded_bytes;
  }
  last_delta_ = x.delta_live;
  live_ = x.said.live;
  gpu_allocated_ = x.said.gpu_allocated;
  gpu_reserved_ = x.said.gpu_reserved;
  step_ = x.step_bytes;
  private_ = present_ = x.private_bytes;
  peak_ = std::max(peak_, private_);
  reported_anonymous_ = x.said.rss_anon;
  reported_moment_ = x.moment;
  decoded_sum_ += static_cast<double>(decoded);
  recent_.push_back({jobs_, x.delta_live, decoded, x.said.live, x.private_bytes});
  if (recent_.size() > recent_limit)
    recent_.pop_front();
}

uint64_t worker_memory::from_anonymous(uint64_t anonymous) const {
  return static_cast<uint64_t>(
    std::max<int64_t>(0, static_cast<int64_t>(anonymous) + private_offset_));
}

void worker_memory::read(const reading& x) {
  seen_idle_ = x.idle;
  seen_moment_ = x.moment;
  seen_anonymous_ = x.pages.anonymous;
  seen_swapped_ = x.pages.swapped;
  if (x.server_lives)
    private_offset_ = static_cast<int64_t>(x.pages.private_bytes)
                      - static_cast<int64_t>(x.pages.anonymous);
  present_ = from_anonymous(x.pages.anonymous);
  peak_ = std::max(peak_, present_);
  // A running job has memory that it will free.
  private_ = seen_idle_ ? present_ : std::min(private_, present_);
}

std::optional<worker_memory::contradiction> worker_memory::compare() {
  if (jobs_ == 0 || trimming_ || !seen_idle_ || seen_moment_ != reported_moment_
      || seen_moment_ < comparable_from_)
    return std::nullopt;
  const auto said = reported_anonymous_, seen = seen_anonymous_;
  // The kernel may have swapped out idle pages since.
  const auto apart = said > seen ? said - std::min(said, seen + seen_swapped_) : seen - said;
  lies_ = apart > honest_difference ? lies_ + 1 : 0;
  if (lies_ < max_lies)
    return std::nullopt;
  return contradiction{said, seen};
}

bool worker_memory::wants_idle_reading(bool will_be_replaced) {
  readings_in_jobs_ = seen_idle_ ? 0 : readings_in_jobs_ + 1;
  if (readings_in_jobs_ < max_readings_in_jobs || will_be_replaced)
    return false;
  readings_in_jobs_ = 0;
  return true;
}

bool worker_memory::begin_trim() {
  if (std::exchange(trimming_, true))
    return false;
  before_trim_ = private_;
  return true;
}

void worker_memory::trim_reported(const wire::memory_reading& after, uint64_t moment) {
  // As it was when the trim was decided: a reading at a job's end may have come between that
  // already saw the trim's effect.
  before_trim_ = std::max(before_trim_, private_);
  trimming_ = false;
  trimmed_ = true;
  reported_anonymous_ = after.rss_anon;
  // Reports of jobs that ended before the trim may still arrive.
  comparable_from_ = moment + 2;
}

worker_memory::trim_outcome worker_memory::end_trim(const wire::memory_reading& after) {
  // Its next job may run already: only its own report tells what the trim has left.
  if (!seen_idle_)
    private_ = std::min(private_, from_anonymous(after.rss_anon));
  trim_outcome x;
  x.recovered = before_trim_ - std::min(before_trim_, private_);
  const auto gpu_before = std::exchange(gpu_reserved_, after.gpu_reserved);
  if (gpu_before > 0)
    x.gpu_recovered = gpu_before - std::min(gpu_before, gpu_reserved_);
  const auto grown = before_trim_ - std::min(before_trim_, baseline_) + gpu_before
                     - std::min(gpu_before, gpu_baseline_);
  x.enough = private_grown() + gpu_grown() < grown / 2;
  if (x.enough)
    trimmed_ = false; // the rung may be used again
  before_trim_ = 0;
  return x;
}

double worker_memory::delta_image_correlation() const {
  const auto n = static_cast<double>(recent_.size());
  if (recent_.size() < 4)
    return 0;
  double mean_d = 0, mean_i = 0;
  for (const auto& p : recent_) {
    mean_d += static_cast<double>(p.delta) / n;
    mean_i += static_cast<double>(p.decoded) / n;
  }
  double cov = 0, var_d = 0, var_i = 0;
  for (const auto& p : recent_) {
    const auto d = static_cast<double>(p.delta) - mean_d,
               i = static_cast<double>(p.decoded) - mean_i;
    cov += d * i;
    var_d += d * d;
    var_i += i * i;
  }
  return var_d > 0 && var_i > 0 ? cov / std::sqrt(var_d * var_i) : 0;
}

} // namespace ziyu::supervision
