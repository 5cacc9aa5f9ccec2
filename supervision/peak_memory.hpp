#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <filesystem>

namespace ziyu::supervision {

/// A process's resident memory now and at its peak, bytes. The kernel tracks the peak itself, so
/// that a peak of a microsecond is not missed. Its counters lag by at most 64 pages per thread and
/// CPU.
struct peak_memory {
  uint64_t resident = 0; ///< VmRSS, now.
  uint64_t peak = 0;     ///< VmHWM: since the process began or `reset_peak_memory`.
};

/// From `/proc/<pid>/status`; `io` when the process is gone.
expected<peak_memory> read_peak_memory(int32_t pid, const std::filesystem::path& proc = "/proc");

/// The peak counts anew from now on (proc(5), clear_refs 5). Needs the same user; `io` where the
/// kernel does not offer it.
expected<void> reset_peak_memory(int32_t pid, const std::filesystem::path& proc = "/proc");

/// The most private memory of a process whose private memory is `private_now` after the peak. Pages
/// that were resident at the peak and are not any more were the process's own, as shared pages are
/// not given back. So private memory has fallen by as much as resident memory. Pages that were
/// copied only after the peak make the result an upper bound.
uint64_t peak_private(uint64_t private_now, const peak_memory& x);

} // namespace ziyu::supervision
