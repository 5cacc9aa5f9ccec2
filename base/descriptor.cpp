#include "base/descriptor.hpp"

#include <cerrno>

#include <unistd.h>

namespace ziyu {

unique_fd& unique_fd::operator=(unique_fd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

unique_fd::~unique_fd() { reset(); }

void unique_fd::reset() {
  if (fd_ >= 0)
    ::close(release());
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno != EINTR)
      return false;
    bytes.remove_prefix(n < 0 ? 0 : static_cast<size_t>(n));
  }
  return true;
}

} // namespace ziyu
