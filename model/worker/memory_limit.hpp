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

/// Private memory of this process in bytes; empty when the kernel does not say.
/// @param proc Where `/proc` is found (tests bring their own).
std::optional<uint64_t> read_private_bytes(const std::filesystem::path& proc = "/proc");

/// From now on this process may map `bytes` more of private memory that it can write to
/// (RLIMIT_DATA): a decoder that wants more is refused an allocation. Memory that is mapped
/// already, and shared pages that are copied, do not count.
/// @returns false when the kernel does not say or does not grant it.
bool limit_growth(uint64_t bytes);

/// Takes the ceiling away again.
void lift_growth_limit();

/// True when this process was refused memory since the last call.
bool was_refused_memory();

} // namespace ziyu::worker
