#pragma once

#include "supervision/leak_judge.hpp"
#include "supervision/wire/frames.hpp"

#include <chrono>
#include <cstdint>
#include <optional>

namespace ziyu::supervision {

/// Decides when the allocations of one worker are sampled, and when its samples are dumped. A
/// worker is sampled from the first growth that warm-up does not excuse. Its samples are dumped
/// when they are enough, or before it ends. Pure: returns the frames for the worker, and is told
/// its answers. Not thread-safe.
class allocation_watch {
public:
  using clock = std::chrono::steady_clock;

  struct settings {
    uint64_t warmup_jobs = 3;        ///< Growth in them is expected.
    uint64_t min_effect_bytes = 512; ///< Smaller growth per job is none.
    double room_bytes = 0;           ///< Private memory at which a worker is replaced.
  };

  /// A worker after one of its jobs.
  struct reading {
    uint64_t jobs = 0; ///< Done so far.
    int64_t last_delta = 0;
    growth kind = growth::warming_up;
    double growth_per_job = 0; ///< By its judge; 0: none.
    bool explained = false;    ///< A report of this leak exists.
  };

  /// The frame to send after a job, if any.
  std::optional<wire::profile> after_job(const reading& x, const settings& how,
                                         clock::time_point now);

  /// Only while it `is_sampled`.
  wire::profile ask_for_dump(clock::time_point now);

  /// The worker samples from now on.
  /// @param jobs Jobs done so far. @param live Its live bytes.
  void started(uint64_t jobs, uint64_t live);

  /// False for an answer to no question.
  bool awaits_start() const { return phase_ == phase::asked; }
  bool awaits_dump() const { return phase_ == phase::dumping; }

  /// The dump has come, or has failed. The frame to send now, if any; not for a worker that ends.
  std::optional<wire::profile> dumped();

  /// Samples are there and no dump is under way.
  bool is_sampled() const { return phase_ == phase::on; }

  /// Whether a dump that was asked for has not come in time.
  bool is_late(clock::time_point now) const { return now >= dump_by_; }

  uint64_t live_at_start() const { return live_at_start_; }

private:
  enum class phase : uint8_t { off, asked, on, dumping };

  std::optional<wire::profile> start(const reading& x, const settings& how);
  wire::profile stop();

  phase phase_ = phase::off;
  uint64_t jobs_at_start_ = 0, live_at_start_ = 0;
  clock::time_point dump_by_{};
  bool reported_ = false; ///< Dumped for a report while it served.
  bool enough_ = false;   ///< Not to be sampled again.
};

} // namespace ziyu::supervision
