#include "base/own_process.hpp"

#include <cstdlib>
#include <fstream>
#include <string>

#include <time.h>

namespace ziyu {

std::chrono::nanoseconds thread_processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec};
}

int count_threads() {
  std::ifstream in{"/proc/self/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("Threads:"))
      return std::atoi(line.c_str() + 8);
  return -1;
}

} // namespace ziyu
