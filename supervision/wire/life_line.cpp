#include "supervision/wire/life_line.hpp"

#include "base/check.hpp"

#include <atomic>
#include <climits>
#include <cstddef>
#include <utility>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ziyu::wire {

namespace {

constexpr size_t size = sizeof(pthread_mutex_t);

// glibc's robust mutex is a futex of the kernel's robust list: thread id, FUTEX_WAITERS,
// FUTEX_OWNER_DIED.
static_assert(offsetof(pthread_mutex_t, __data.__lock) == 0);

} // namespace

expected<life_line> life_line::make() {
  auto page = make_memory_file("ziyu-life-line", size);
  if (!page)
    return tl::unexpected(page.error());
  auto result = attach(std::move(*page));
  if (!result)
    return result;
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
  pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(result->mutex(), &kind);
  pthread_mutexattr_destroy(&kind);
  return result;
}

expected<life_line> life_line::attach(unique_fd page) {
  auto memory = mapping::of(page.get(), size, mapping::access::write);
  if (!memory)
    return tl::unexpected(memory.error());
  return life_line{std::move(page), std::move(*memory)};
}

pthread_mutex_t* life_line::mutex() const {
  return reinterpret_cast<pthread_mutex_t*>(memory_.data());
}

void life_line::hold() {
  require(pthread_mutex_lock(mutex()) == 0, "a life line is held once");
  ::syscall(SYS_futex, word(), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

uint32_t* life_line::word() const { return reinterpret_cast<uint32_t*>(memory_.data()); }

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
