#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace ziyu::worker {

/// The tightest memory limit of this process's cgroup (v2, else v1) in bytes; empty
/// when there is none below what the machine has.
/// @param root Where `/proc` and `/sys` are found (tests bring their own).
std::optional<uint64_t> read_memory_limit(const std::filesystem::path& root = "/");

/// When memory runs out, the kernel ends this process before any other
/// (oom_score_adj 1000, which needs no privilege).
void make_first_victim();

} // namespace ziyu::worker
