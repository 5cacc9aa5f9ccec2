#include "base/file.hpp"

#include "base/descriptor.hpp"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ziyu {

namespace {

tl::unexpected<error> failed(const char* what, const std::filesystem::path& path) {
  return fail(errc::io,
              std::string{"cannot "} + what + " " + path.string() + ": " + std::strerror(errno));
}

/// Of a pipe, from its opening to its end.
constexpr std::chrono::seconds pipe_limit{30};

struct open_file {
  explicit open_file(int x) : fd(x) {}
  ~open_file() {
    if (fd >= 0)
      ::close(fd);
  }
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  const int fd;
};

/// False if the deadline comes before input, its end or an error.
bool await_input(int fd, std::chrono::steady_clock::time_point deadline) {
  using std::chrono::milliseconds;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd entry{fd, POLLIN, 0};
    const auto n = left.count() <= 0 ? 0 : ::poll(&entry, 1, static_cast<int>(left.count()));
    if (n == 0)
      return false;
    if (n > 0 || errno != EINTR)
      return true;
  }
}

/// For what a rename must not replace: a device, a pipe, a link to nothing.
expected<void> write_in_place(const std::filesystem::path& path, std::string_view content) {
  // A pipe that nobody reads is an error, not a wait.
  const auto fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666);
  if (fd < 0)
    return failed("write", path);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  const auto written = write_all(fd, content);
  auto result = written ? expected<void>{} : failed("write", path);
  if (::close(fd) != 0 && written)
    result = failed("write", path);
  return result;
}

} // namespace

expected<std::string> read_file(const std::filesystem::path& path, uint64_t max_bytes) {
  const auto deadline = std::chrono::steady_clock::now() + pipe_limit;
  // A pipe without a writer is waited for below, with a deadline.
  const open_file in{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)};
  struct stat there {};
  if (in.fd < 0 || ::fstat(in.fd, &there) != 0)
    return failed("read", path);
  if (S_ISDIR(there.st_mode)) {
    errno = EISDIR;
    return failed("read", path);
  }
  if (S_ISCHR(there.st_mode) || S_ISBLK(there.st_mode))
    return fail(errc::io, "cannot read " + path.string() + ": it is a device, not a file");
  const auto too_large = [&] {
    return fail(errc::io,
                path.string() + " is larger than " + std::to_string(max_bytes) + " bytes");
  };
  if (S_ISREG(there.st_mode) && static_cast<uint64_t>(there.st_size) > max_bytes)
    return too_large();
  std::string result;
  char block[64 * 1024];
  for (auto waits = !S_ISREG(there.st_mode);;) { // a regular file of /proc may wait, too
    if (waits && !await_input(in.fd, deadline))
      return fail(errc::io, "cannot read " + path.string() + ": it did not end within "
                              + std::to_string(pipe_limit.count())
                              + " s, as a pipe whose writer does not close it");
    const auto n = ::read(in.fd, block, sizeof block);
    if (n == 0)
      return result;
    if (n < 0 && errno != EINTR && errno != EAGAIN)
      return failed("read", path);
    waits = waits || (n < 0 && errno == EAGAIN);
    if (n > 0)
      result.append(block, static_cast<size_t>(n));
    if (result.size() > max_bytes)
      return too_large();
  }
}

expected<void> write_file(const std::filesystem::path& path, std::string_view content) {
  struct stat there {
  }, link{};
  const auto exists = ::stat(path.c_str(), &there) == 0;
  const auto is_link = ::lstat(path.c_str(), &link) == 0 && S_ISLNK(link.st_mode);
  const auto is_folder = exists && S_ISDIR(there.st_mode);
  if ((exists && !is_folder && !S_ISREG(there.st_mode)) || (is_link && !exists))
    return write_in_place(path, content);
  // A link stays: what it names is replaced.
  std::error_code status;
  auto target = is_link ? std::filesystem::canonical(path, status) : path;
  if (status)
    return write_in_place(path, content);
  auto temporary = target;
  temporary += ".new-" + std::to_string(::getpid());
  {
    errno = 0;
    std::ofstream out{temporary, std::ios::binary | std::ios::trunc};
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.flush();
    if (!out) {
      auto result = failed("write", path);
      ::unlink(temporary.c_str());
      return result;
    }
  }
  constexpr mode_t permissions = 07777;
  if (exists)
    ::chmod(temporary.c_str(), there.st_mode & permissions);
  if (std::rename(temporary.c_str(), target.c_str()) != 0) {
    auto result = failed("write", path);
    ::unlink(temporary.c_str());
    return result;
  }
  return {};
}

std::filesystem::path executable_dir() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

temp_dir::temp_dir(std::string_view prefix) {
  auto pattern =
    (std::filesystem::temp_directory_path() / (std::string{prefix} + "-XXXXXX")).string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    std::fprintf(stderr, "ziyu: cannot make a temporary folder %s: %s\n", pattern.c_str(),
                 std::strerror(errno));
    std::abort();
  }
  path_ = pattern;
}

temp_dir::~temp_dir() {
  std::error_code ignored;
  if (!path_.empty())
    std::filesystem::remove_all(path_, ignored);
}

temp_dir::temp_dir(temp_dir&& other) noexcept : path_(std::move(other.path_)) {
  other.path_.clear();
}

temp_dir& temp_dir::operator=(temp_dir&& other) noexcept {
  // The destructor of `other` removes what we held.
  std::swap(path_, other.path_);
  return *this;
}

} // namespace ziyu
