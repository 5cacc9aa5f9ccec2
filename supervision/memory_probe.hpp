#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace ziyu::supervision {

/// A process's pages by kind, in bytes: from `/proc/<pid>/smaps_rollup`, else (a kernel or a
/// sandbox without it) the sum of `smaps`, else from `statm`, where all pages that are not a
/// file's count as private. Takes up to 5 ms for a large process: read it on a timer and at
/// verdicts only.
struct process_memory {
  uint64_t rss = 0, pss = 0;
  uint64_t private_bytes = 0; ///< Private_Dirty, and Private_Clean unless it is a file's.
  uint64_t shared_bytes = 0;  ///< Shared_Clean + Shared_Dirty.
  uint64_t anonymous = 0;     ///< Anonymous: what statm's resident − shared counts.
  uint64_t swapped = 0;       ///< Swap: anonymous, and not resident now.
  std::string source;         ///< Of the reading: "smaps_rollup", "smaps" or "statm".
};

expected<process_memory> read_process_memory(int32_t pid,
                                             const std::filesystem::path& proc = "/proc");

/// How many processes the kernel has killed for lack of memory: in our cgroup (v2's
/// `memory.events`, v1's `memory.oom_control`), else on this host (`/proc/vmstat`). Empty where
/// nothing counts them. @param root Where `/proc` and `/sys` are found.
std::optional<uint64_t> read_oom_kills(const std::filesystem::path& root = "/");

/// The memory that this container (else this host) uses and may use, in bytes.
struct container_memory {
  /// Memory that the kernel cannot reclaim, in memory or swapped out. Active and inactive pages of
  /// files are left out: the kernel reclaims them before it kills.
  uint64_t used = 0;
  uint64_t limit = 0;
  std::string source; ///< "cgroup2", "cgroup1" or "host".

  double share() const {
    return limit == 0 ? 0 : static_cast<double>(used) / static_cast<double>(limit);
  }
};

/// Reads the memory controller of our own cgroup or of the ancestor with the tightest limit: v2
/// (memory.current − inactive_file − active_file − slab_reclaimable + memory.swap.current −
/// swapcached, against memory.max), else v1 (usage_in_bytes − total_inactive_file −
/// total_active_file + swapped-out memory), else /proc/meminfo (MemTotal − MemAvailable; without
/// swap, which other services of the host fill as well).
/// @param root Where `/proc` and `/sys` are found (tests bring their own).
/// @param limit_override Used as the limit unless 0.
expected<container_memory> read_container_memory(const std::filesystem::path& root = "/",
                                                 uint64_t limit_override = 0);

} // namespace ziyu::supervision
