#pragma once

#include "supervision/leak_judge.hpp"
#include "supervision/memory_probe.hpp"
#include "supervision/wire/frames.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace ziyu::supervision {

/// What is known after an attempt of a worker: its own report, and what its slot has made of it.
struct memory_report {
  wire::memory_reading said;
  int64_t delta_live = 0;
  uint64_t private_bytes = 0;
  /// The largest amount that a job of its latest attempts has added to its private memory.
  uint64_t step_bytes = 0;
  uint64_t moment = 0;         ///< Of the worker's activity, when the attempt was over.
  std::vector<job_input> jobs; ///< Those that ran together; at least one.
};

/// The memory of one worker as the supervisor knows it: the worker's reports, the supervisor's
/// readings, and whether the two agree. Only a report and a reading of the same moment of the
/// worker's life are compared. Pure; not thread-safe. All amounts are in bytes.
///
/// A *moment* counts the beginnings and ends of the worker's jobs.
class worker_memory {
public:
  struct point {
    uint64_t job;
    int64_t delta;
    uint64_t decoded, live, private_bytes;
  };
  static constexpr size_t recent_limit = 64;

  worker_memory() = default;

  /// @param server_anonymous Anonymous memory of its fork server: all of it is shared until a
  /// reading tells.
  explicit worker_memory(uint64_t server_anonymous)
    : private_offset_(-static_cast<int64_t>(server_anonymous)) {}

  // -- what comes in ------------------------------------------------------------------

  /// It is ready; before its first reading.
  void ready(const wire::memory_reading& said);

  /// What it has now is what it was born with.
  void note_baseline() { baseline_ = private_; }

  void after_job(const memory_report& x);

  struct reading {
    process_memory pages;
    bool idle = false;         ///< No job ran during the reading.
    uint64_t moment = 0;       ///< At the reading's end.
    bool server_lives = false; ///< Its fork server still had its pages after the reading.
  };
  void read(const reading& x);

  // -- whether it can be believed -------------------------------------------------------

  struct contradiction {
    uint64_t said = 0, seen = 0; ///< Anonymous memory.
  };
  /// Compares the latest report with the latest reading, if they are of one moment. A contradiction
  /// that has stood three times in a row, or nothing.
  std::optional<contradiction> compare();

  /// Counts readings that fell into jobs. True when so many did in a row that the worker should be
  /// held for a reading without a job. @param will_be_replaced Then none is needed.
  bool wants_idle_reading(bool will_be_replaced);

  // -- trims --------------------------------------------------------------------------

  /// False if a trim is under way already.
  bool begin_trim();
  /// Whether this rung was used since it was judged anew.
  bool was_trimmed() const { return trimmed_; }

  /// The worker reports its trim. The supervisor then reads it and calls `end_trim`.
  /// @param moment Of its activity at present.
  void trim_reported(const wire::memory_reading& after, uint64_t moment);

  struct trim_outcome {
    uint64_t recovered = 0;
    std::optional<uint64_t> gpu_recovered; ///< If it had memory of a GPU.
    bool enough = false;                   ///< Half of its growth, or more, is gone.
  };
  trim_outcome end_trim(const wire::memory_reading& after);

  // -- what is known ------------------------------------------------------------------

  uint64_t private_bytes() const { return private_; } ///< Without that of a running job.
  uint64_t present_bytes() const { return present_; } ///< With that of a running job.
  uint64_t peak_bytes() const { return peak_; }
  uint64_t baseline_bytes() const { return baseline_; }
  uint64_t live_bytes() const { return live_; }
  uint64_t gpu_allocated() const { return gpu_allocated_; }
  uint64_t gpu_reserved() const { return gpu_reserved_; }
  uint64_t most_bytes() const { return present_ > private_ ? present_ : private_; }

  /// private − anonymous while its fork server lived; unchanged afterwards. The kernel counts pages
  /// that no other process has any more as private, but they are no growth.
  int64_t private_offset() const { return private_offset_; }

  uint64_t private_grown() const { return private_ > baseline_ ? private_ - baseline_ : 0; }
  int64_t live_grown() const {
    return static_cast<int64_t>(live_) - static_cast<int64_t>(live_baseline_);
  }
  uint64_t gpu_grown() const {
    return gpu_reserved_ > gpu_baseline_ ? gpu_reserved_ - gpu_baseline_ : 0;
  }
  /// The step of its own report, but at most the growth by the supervisor's readings.
  uint64_t step_bytes() const { return step_ < private_grown() ? step_ : private_grown(); }

  uint64_t jobs() const { return jobs_; }
  int64_t last_delta() const { return last_delta_; }
  const std::deque<point>& recent() const { return recent_; } ///< Its latest jobs.
  double encoded_per_job() const { return per_job(encoded_sum_); }
  double decoded_per_job() const { return per_job(decoded_sum_); }
  /// Pearson's correlation of delta and decoded bytes over `recent`; 0 when one does not vary.
  double delta_image_correlation() const;

private:
  double per_job(double sum) const { return jobs_ > 0 ? sum / static_cast<double>(jobs_) : 0; }
  uint64_t from_anonymous(uint64_t anonymous) const;

  uint64_t baseline_ = 0, private_ = 0, present_ = 0, peak_ = 0;
  uint64_t live_ = 0, live_baseline_ = 0, step_ = 0;
  int64_t private_offset_ = 0;
  /// Of the GPU, as it reports them: there is no other source.
  uint64_t gpu_allocated_ = 0, gpu_reserved_ = 0, gpu_baseline_ = 0;

  uint64_t jobs_ = 0;
  int64_t last_delta_ = 0;
  double encoded_sum_ = 0, decoded_sum_ = 0;
  std::deque<point> recent_;

  // To compare reports and readings.
  bool seen_idle_ = false;
  uint64_t seen_moment_ = 0, seen_anonymous_ = 0, seen_swapped_ = 0;
  uint64_t reported_moment_ = 0, reported_anonymous_ = 0;
  uint64_t comparable_from_ = 0;             ///< Earlier reports may be older than its latest trim.
  uint32_t lies_ = 0, readings_in_jobs_ = 0; ///< In a row.

  bool trimming_ = false, trimmed_ = false;
  uint64_t before_trim_ = 0; ///< Private memory when the trim was decided.
};

} // namespace ziyu::supervision
