#pragma once

#include "base/mapping.hpp"

#include <cstdint>
#include <utility>

#include <pthread.h>

namespace ziyu::wire {

/// A page that the control process and one worker share, with a robust mutex that the worker holds
/// for its life. The kernel marks it at the very beginning of the worker's end, however that comes
/// (man set_robust_list; Documentation/locking/robust-futex-ABI.rst). The worker's socket closes
/// only when all of its memory is released, which takes several milliseconds. Move-only.
class life_line {
public:
  /// A new one. Errors: `io`, e.g., where a sandbox refuses memfd_create(2).
  static expected<life_line> make();
  /// The one that came with a `spawn`.
  static expected<life_line> attach(unique_fd page);

  /// To be passed on.
  int page() const { return page_.get(); }

  /// The calling thread holds it until it ends. At most once.
  void hold();

  /// Whether the thread that held it has begun to end.
  bool is_broken() const;

  /// The word that changes when it is held and when it breaks, for futex(2) without PRIVATE, and
  /// its present value. From then on the kernel wakes who waits for a change.
  uint32_t* word() const;
  uint32_t arm() const;

private:
  life_line(unique_fd page, mapping memory) : page_(std::move(page)), memory_(std::move(memory)) {}
  pthread_mutex_t* mutex() const;

  unique_fd page_;
  mapping memory_;
};

} // namespace ziyu::wire
