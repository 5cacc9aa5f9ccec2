#pragma once

#include <cstdint>
#include <functional>

namespace ziyu::test {

/// What `work` came to in a process of its own.
struct child_report {
  bool succeeded = false;  ///< It returned true, and the process neither crashed nor exited.
  uint64_t peak_bytes = 0; ///< Address space at its largest, less that at its start.
};

/// Runs `work` in a child process, so that its largest use of memory can be read: the kernel
/// keeps that for a process only. Under AddressSanitizer, whose memory is another, the
/// peak is 0.
child_report in_child(const std::function<bool()>& work);

} // namespace ziyu::test
