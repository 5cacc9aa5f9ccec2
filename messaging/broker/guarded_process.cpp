#include "messaging/broker/guarded_process.hpp"

#include "base/file.hpp"
#include "supervision/wire/socket.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>

namespace ziyu::broker {

expected<guarded_process> guarded_process::start(const std::vector<std::string>& command,
                                                 const std::filesystem::path& log,
                                                 std::optional<int> stdout_fd) {
  auto pair = wire::socket_pair();
  if (!pair)
    return tl::unexpected(pair.error());
  unique_fd out{::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
  if (!out)
    return fail(errc::io, "cannot write " + log.string() + ": " + std::strerror(errno));
  supervision::child_specification spec;
  spec.arguments = {(executable_dir() / "ziyu").string(), "__guard", "3"};
  spec.arguments.insert(spec.arguments.end(), command.begin(), command.end());
  spec.control_fd = pair->second.get();
  spec.stdout_fd = stdout_fd ? *stdout_fd : out.get();
  spec.stderr_fd = out.get();
  spec.new_session = true;
  auto guard = supervision::child_process::start(spec);
  if (!guard)
    return tl::unexpected(guard.error());
  guarded_process result;
  result.guard_ = std::move(*guard);
  result.lifeline_ = std::move(pair->first);
  return result;
}

guarded_process::~guarded_process() {
  // The handle's own destructor would kill the guard before the program.
  end(std::chrono::milliseconds{0});
}

supervision::exit_status guarded_process::end(std::chrono::milliseconds grace) {
  guard_.signal(SIGTERM);
  if (auto how = guard_.wait(grace))
    return *how;
  // The guard kills the program when its own grace is over.
  lifeline_.reset();
  return guard_.wait(std::chrono::seconds{15}).value_or(supervision::exit_status{0, SIGKILL});
}

} // namespace ziyu::broker
