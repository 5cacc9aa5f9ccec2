#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ziyu::supervision {

/// Tells which job was the first of a reading, when a reading may be of several jobs. Exact while
/// all readings are of one job; otherwise exact for some readings and, between them, as if these
/// had all had as many jobs. Bounded; pure; not thread-safe.
class job_axis {
public:
  /// One more reading, of so many jobs.
  void add(uint64_t jobs);

  uint64_t readings() const { return readings_; }
  uint64_t jobs() const { return jobs_; }

  /// The number (from 1) of the first job of this reading (from 1). 0: 0.
  uint64_t first_job_of(uint64_t reading) const;

private:
  struct mark {
    uint64_t reading, job; ///< The first job of the reading.
  };
  static constexpr size_t most_marks = 128;
  std::vector<mark> marks_; ///< Where the number of jobs per reading has changed.
  uint64_t readings_ = 0, jobs_ = 0, latest_ = 0;
};

} // namespace ziyu::supervision
