#include "supervision/wire/life_line.hpp"

#include "base/check.hpp"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <utility>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ziyu::wire {

namespace {

constexpr size_t size = sizeof(pthread_mutex_t);

// glibc's robust mutex is a futex of the kernel's robust list: thread id, FUTEX_WAITERS,
// FUTEX_OWNER_DIED.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

tl::unexpected<error> failed(const char* what) {
  return fail(errc::io, std::string{what} + ": " + std::strerror(errno));
}

expected<void*> map(int page) {
  const auto memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
  if (memory == MAP_FAILED)
    return failed("mmap of a life line");
  return memory;
}

} // namespace

expected<life_line> life_line::make() {
  unique_fd page{::memfd_create("ziyu-life-line", MFD_CLOEXEC)};
  if (!page)
    return failed("memfd_create");
  if (::ftruncate(page.get(), static_cast<off_t>(size)) != 0)
    return failed("ftruncate");
  auto memory = map(page.get());
  if (!memory)
    return tl::unexpected(memory.error());
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(static_cast<pthread_mutex_t*>(*memory), &kind);
  pthread_mutexattr_destroy(&kind);
  return life_line{std::move(page), *memory};
}

expected<life_line> life_line::attach(unique_fd page) {
  auto memory = map(page.get());
  if (!memory)
    return tl::unexpected(memory.error());
  return life_line{std::move(page), *memory};
}

life_line::life_line(life_line&& other) noexcept
  : page_(std::move(other.page_)), memory_(std::exchange(other.memory_, nullptr)) {}

life_line::~life_line() {
  if (memory_ != nullptr)
    ::munmap(memory_, size);
}

void life_line::hold() {
  require(pthread_mutex_lock(static_cast<pthread_mutex_t*>(memory_)) == 0,
          "a life line is held once");
  ::syscall(SYS_futex, word(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

uint32_t* life_line::word() const { return static_cast<uint32_t*>(memory_); }

bool life_line::is_broken() const {
  return (std::atomic_ref{*word()}.load() & FUTEX_OWNER_DIED) != 0;
}

uint32_t life_line::arm() const {
  std::atomic_ref state{*word()};
  auto now = state.load();
  while ((now & FUTEX_TID_MASK) != 0 && (now & FUTEX_WAITERS) == 0)
    if (state.compare_exchange_weak(now, now | FUTEX_WAITERS))
      return now | FUTEX_WAITERS;
  return now;
}

} // namespace ziyu::wire
