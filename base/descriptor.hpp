#pragma once

#include <string_view>

namespace ziyu {

/// Writes all of `bytes` to a descriptor that blocks, also when a signal interrupts it. False, with
/// `errno`, when that fails; part of them may have been written. Allocates nothing. A peer that has
/// gone raises SIGPIPE unless the process ignores it.
bool write_all(int fd, std::string_view bytes);

} // namespace ziyu
