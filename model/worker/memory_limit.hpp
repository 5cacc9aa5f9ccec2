#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace ziyu::worker {

/// The tightest memory limit of this process's cgroup (v2, else v1) in bytes; empty without a limit
/// below the machine's memory.
/// @param root Where `/proc` and `/sys` are found (tests bring their own).
std::optional<uint64_t> read_memory_limit(const std::filesystem::path& root = "/");

/// When memory runs out, the kernel ends this process before any other
/// (oom_score_adj 1000, which needs no privilege).
void make_first_victim();

/// Private memory of this process in bytes; empty when the kernel does not tell it.
/// @param proc Where `/proc` is found (tests bring their own).
std::optional<uint64_t> read_private_bytes(const std::filesystem::path& proc = "/proc");

/// From now on this process may map `bytes` more of private writable memory (RLIMIT_DATA): a
/// decoder's allocation beyond that fails. Memory that is mapped already, and shared pages that are
/// copied, do not count.
/// @returns false when the kernel does not tell the present amount or refuses the limit.
bool limit_growth(uint64_t bytes);

/// Removes the limit.
void lift_growth_limit();

/// True when this process was refused memory since the last call.
bool was_refused_memory();

} // namespace ziyu::worker
