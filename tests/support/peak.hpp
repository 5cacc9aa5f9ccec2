#pragma once

#include <cstdint>
#include <functional>

namespace ziyu::test {

/// The result of `work` in a process of its own.
struct child_report {
  bool succeeded = false;  ///< It returned true, and the process neither crashed nor exited.
  uint64_t peak_bytes = 0; ///< Address space at its largest, less that at its start.
};

/// Runs `work` in a child process, so that its peak memory can be read: the kernel
/// keeps that only per process. Under AddressSanitizer, whose memory differs, the peak
/// is 0.
child_report in_child(const std::function<bool()>& work);

} // namespace ziyu::test
