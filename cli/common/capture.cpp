#include "cli/common/capture.hpp"

#include "cli/common/interrupt.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace ziyu::cli {

namespace {

constexpr size_t max_output = 1 << 20;
constexpr std::chrono::milliseconds grace{500};
constexpr std::chrono::milliseconds attention{100};

/// While it lives, a signal ends the child before it ends us: no program stays behind.
class watch {
public:
  watch() { catch_interrupts(); }
  ~watch() { leave_on_interrupts(); }
  watch(const watch&) = delete;
  watch& operator=(const watch&) = delete;

  static void look(supervision::child_process& child) {
    if (!interrupted())
      return;
    child.end(grace);
    ::_exit(interrupted_exit_code);
  }
};

} // namespace

expected<captured> capture(std::vector<std::string> arguments, std::chrono::milliseconds limit,
                           capture_errors errors) {
  using clock = std::chrono::steady_clock;
  const auto deadline = clock::now() + limit;
  const auto program = arguments.front();
  if (::access(program.c_str(), X_OK) != 0)
    return fail(errc::io, "cannot run " + program + ": " + std::strerror(errno));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail(errc::io, std::string{"pipe: "} + std::strerror(errno));
  unique_fd reading{ends[0]}, writing{ends[1]};
  supervision::child_specification specification;
  specification.arguments = std::move(arguments);
  specification.stdout_fd = writing.get();
  if (errors == capture_errors::yes)
    specification.stderr_fd = writing.get();
  const watch signals;
  auto child = supervision::child_process::start(specification);
  if (!child)
    return tl::unexpected(child.error());
  writing.reset();
  captured result;
  auto left = [deadline] {
    return std::max(std::chrono::milliseconds{0},
                    std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now()));
  };
  for (char block[4096];;) {
    watch::look(*child);
    pollfd wait{reading.get(), POLLIN, 0};
    const auto ready = ::poll(&wait, 1, static_cast<int>(std::min(left(), attention).count()));
    if ((ready < 0 && errno == EINTR) || (ready == 0 && left().count() > 0))
      continue;
    const auto n = ready > 0 ? ::read(reading.get(), block, sizeof block) : -1;
    if (n == 0)
      break;
    if (n < 0 || result.output.size() + static_cast<size_t>(n) > max_output) {
      child->end(grace);
      return fail(errc::timeout,
                  program + (n < 0 ? " did not finish in time" : " writes too much"));
    }
    result.output.append(block, static_cast<size_t>(n));
  }
  if (const auto how = child->wait(left())) {
    watch::look(*child);
    result.how = *how;
    return result;
  }
  child->end(grace);
  return fail(errc::timeout, program + " did not finish in time");
}

} // namespace ziyu::cli
