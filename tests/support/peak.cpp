#include "support/peak.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <string>

#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::test {
namespace {

/// A value of /proc/self/status, bytes.
uint64_t status_of(const std::string& name) {
  std::ifstream file{"/proc/self/status"};
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name + ":"))
      return std::strtoull(line.c_str() + name.size() + 1, nullptr, 10) * 1024;
  return 0;
}

} // namespace

child_report in_child(const std::function<bool()>& work) {
  int ends[2];
  if (::pipe(ends) != 0)
    return {};
  const auto pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    // Every larger block is a mapping of its own, gone when it is freed.
    ::mallopt(M_MMAP_THRESHOLD, 64 * 1024);
    ::mallopt(M_TRIM_THRESHOLD, 64 * 1024);
    child_report result;
    const auto before = status_of("VmSize");
    try {
      result.succeeded = work();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "in the child: %s\n", e.what());
    }
    result.peak_bytes = status_of("VmPeak") - before;
#ifdef __SANITIZE_ADDRESS__
    result.peak_bytes = 0;
#endif
    const auto written = ::write(ends[1], &result, sizeof result);
    ::_exit(written == sizeof result ? 0 : 1);
  }
  ::close(ends[1]);
  child_report result;
  const auto got = pid < 0 ? 0 : ::read(ends[0], &result, sizeof result);
  ::close(ends[0]);
  if (pid > 0)
    ::waitpid(pid, nullptr, 0);
  return got == sizeof result ? result : child_report{};
}

} // namespace ziyu::test
