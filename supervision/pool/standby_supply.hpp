#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace ziyu::supervision {

/// Decides how many workers of each model version are forked ahead of time, and which slot is given
/// a ready one. Make before break: a slot keeps its worker until another one is ready for it. Pure;
/// not thread-safe.
class standby_supply {
public:
  /// A slot as the supply sees it.
  struct demand {
    uint32_t slot = 0;
    uint64_t version = 0;  ///< That it wants.
    bool is_empty = false; ///< No worker serves it, and none is on its way.
    /// Set: it waits for a worker; jobs that its own can still do. 0: it takes no job until then.
    std::optional<uint64_t> jobs_left = {};

    bool waits() const { return jobs_left.has_value(); }
  };

  /// A worker that serves no slot yet.
  struct candidate {
    uint64_t worker = 0;
    uint64_t version = 0;
    bool is_ready = false;
  };

  /// @param standbys Ready workers to keep for each version that serves.
  explicit standby_supply(uint32_t standbys) : standbys_(standbys) {}

  /// How many workers of `version` are to be forked now.
  uint32_t missing(uint64_t version, const std::vector<demand>& slots,
                   const std::vector<candidate>& workers) const;

  /// Which ready worker goes to which slot: first to those that take no job, then to those with the
  /// fewest jobs left. Pairs of slot and worker.
  static std::vector<std::pair<uint32_t, uint64_t>> assign(std::vector<demand> slots,
                                                           const std::vector<candidate>& workers);

private:
  uint32_t standbys_;
};

} // namespace ziyu::supervision
