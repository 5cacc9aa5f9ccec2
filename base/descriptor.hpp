#pragma once

#include <string_view>

namespace ziyu {

/// Owns a file descriptor. Move-only.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept;
  ~unique_fd();

  int get() const { return fd_; }
  int release() {
    int fd = fd_;
    fd_ = -1;
    return fd;
  }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

private:
  int fd_ = -1;
};

/// Writes all of `bytes` to a descriptor that blocks, also when a signal interrupts it. False, with
/// `errno`, when that fails; part of them may have been written. Allocates nothing. A peer that has
/// gone raises SIGPIPE unless the process ignores it.
bool write_all(int fd, std::string_view bytes);

} // namespace ziyu
