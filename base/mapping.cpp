#include "base/mapping.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>

namespace ziyu {

namespace {

tl::unexpected<error> failed(const char* what, int code = errno) {
  return fail(errc::io, std::string{what} + ": " + std::strerror(code));
}

} // namespace

expected<unique_fd> make_memory_file(const char* name, size_t size) {
  unique_fd file{::memfd_create(name, MFD_CLOEXEC)};
  if (!file)
    return failed("memfd_create");
  if (const auto code = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size)); code != 0)
    return failed("posix_fallocate", code);
  return file;
}

expected<mapping> mapping::of(int fd, size_t size, access how) {
  const auto protection = how == access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  const auto memory = ::mmap(nullptr, size, protection, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED)
    return failed("mmap");
  return mapping{memory, size};
}

mapping::mapping(mapping&& other) noexcept
  : memory_(std::exchange(other.memory_, nullptr)), size_(other.size_) {}

mapping::~mapping() {
  if (memory_ != nullptr)
    ::munmap(memory_, size_);
}

expected<void> mapping::make_read_only() {
  if (::mprotect(memory_, size_, PROT_READ) != 0)
    return failed("mprotect");
  return {};
}

} // namespace ziyu
