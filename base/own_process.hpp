#pragma once

#include <chrono>

namespace ziyu {

/// Processor time of the calling thread: others on the machine do not disturb it.
std::chrono::nanoseconds thread_processor_time();

/// How many threads this process has; -1 when /proc does not say.
int count_threads();

} // namespace ziyu
