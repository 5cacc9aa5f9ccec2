#pragma once

#include <algorithm>
#include <cstdint>

namespace ziyu::actors {

/// How many jobs may be in flight: as many as keep the workers busy while results are on their way
/// to the broker, which is twice the rate of jobs times that time. Doubles when a slot waits for a
/// job while all credit is used, as a sender's congestion window does (RFC 5681), and halves when
/// a whole period has not needed half of it. Pure.
class credit_window {
public:
  static constexpr uint64_t first = 64;

  /// @param most At least 1.
  explicit credit_window(uint64_t most) : most_(most), size_(std::min(first, most)) {}

  uint64_t size() const { return size_; }

  /// So many jobs hold credit now.
  void used(uint64_t jobs) { peak_ = std::max(peak_, jobs); }

  /// A slot waits for a job, and all credit is used.
  void grow() { size_ = std::min(2 * size_, most_); }

  /// A period is over. @param jobs That hold credit now.
  void end_period(uint64_t jobs) {
    if (peak_ < size_ / 2)
      size_ = std::max(size_ / 2, std::min(first, most_));
    peak_ = jobs;
  }

private:
  uint64_t most_, size_;
  uint64_t peak_ = 0; ///< Of the period.
};

} // namespace ziyu::actors
