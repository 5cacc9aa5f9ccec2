#include "cli/demo/sweeper.hpp"

#include "base/file.hpp"
#include "supervision/wire/socket.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::cli {

namespace fs = std::filesystem;
using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace {

constexpr auto start_limit = 20s;
/// A guard gives its program 10 s after SIGTERM; then it is killed.
constexpr auto end_limit = 60s;

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char x) {
    return x >= '0' && x <= '9';
  });
}

/// Whether a process was started with a path in `folder`: Kafka, the service, their guards.
bool in_use(const fs::path& folder) {
  std::error_code status;
  for (fs::directory_iterator i{"/proc", status}, end; !status && i != end; i.increment(status)) {
    if (!is_number(i->path().filename().string()))
      continue;
    const auto command = read_file(i->path() / "cmdline");
    if (command && command->find(folder.string()) != command->npos)
      return true;
  }
  return false;
}

void remove(const fs::path& folder) {
  const auto deadline = clock::now() + end_limit;
  std::error_code status;
  do {
    while (in_use(folder) && clock::now() < deadline)
      ::poll(nullptr, 0, 50);
    fs::remove_all(folder, status);
    // Repeated if a program that had just started wrote into the folder.
  } while ((fs::exists(folder, status) || in_use(folder)) && clock::now() < deadline);
}

/// Reads from `fd` until a line is complete, the other end is closed, or time is over.
std::string read_line(int fd) {
  const auto deadline = clock::now() + start_limit;
  std::string line;
  while (!line.ends_with('\n') && clock::now() < deadline) {
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, 100) <= 0)
      continue;
    char byte = 0;
    if (::read(fd, &byte, 1) <= 0)
      return {};
    line += byte;
  }
  if (line.ends_with('\n'))
    line.pop_back();
  return line;
}

} // namespace

expected<swept_folder> swept_folder::make(const std::string& prefix) {
  auto pair = wire::socket_pair();
  if (!pair)
    return tl::unexpected(pair.error());
  // A sweeper that outlives this process must not keep its output open.
  unique_fd nowhere{::open("/dev/null", O_RDWR | O_CLOEXEC)};
  supervision::child_specification spec;
  spec.arguments = {(executable_dir() / "ziyu").string(), "__sweep", "3", prefix};
  spec.control_fd = pair->second.get();
  spec.stdout_fd = nowhere.get();
  spec.stderr_fd = nowhere.get();
  spec.new_session = true;
  auto sweeper = supervision::child_process::start(spec);
  if (!sweeper)
    return tl::unexpected(sweeper.error());
  pair->second.reset();
  const auto path = read_line(pair->first.get());
  swept_folder result;
  result.sweeper_ = std::move(*sweeper);
  result.lifeline_ = std::move(pair->first);
  result.path_ = path;
  if (path.empty())
    return fail(errc::io, "cannot make a temporary folder in " + fs::temp_directory_path().string()
                            + " (TMPDIR names another one)");
  return result;
}

swept_folder::~swept_folder() {
  lifeline_.reset();
  if (sweeper_.pid() != 0)
    sweeper_.wait(end_limit + 10s);
}

int run_sweeper(int fd, const std::string& prefix) {
  // It ends after the process that it waits for, not by a signal.
  for (auto number : {SIGTERM, SIGINT, SIGHUP, SIGQUIT})
    std::signal(number, SIG_IGN);
  unique_fd lifeline{fd};
  std::error_code status;
  auto pattern = (fs::temp_directory_path(status) / (prefix + "-XXXXXX")).string();
  if (status || ::mkdtemp(pattern.data()) == nullptr)
    return 1;
  const auto line = pattern + "\n";
  const auto sent = ::send(lifeline.get(), line.data(), line.size(), MSG_NOSIGNAL);
  char byte = 0;
  if (sent == static_cast<ssize_t>(line.size()))
    while (::read(lifeline.get(), &byte, 1) < 0 && errno == EINTR) {
    }
  remove(pattern);
  return fs::exists(pattern, status) ? 1 : 0;
}

} // namespace ziyu::cli
