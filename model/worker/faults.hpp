#pragma once

#include "model/classifier.hpp"
#include "wire/fault_spec.hpp"

#include <memory>
#include <string_view>

namespace ziyu::worker {

/// Does to this worker what a fault specification says, once per job.
class fault_injector {
public:
  fault_injector();
  ~fault_injector();

  /// Called after the job's own work, before its memory is read. `crash`, `hang` and
  /// `oom` do not return; `garbage` is the caller's, who has the socket.
  /// @param image The job's encoded image.
  /// @returns `unavailable` for a fault that cannot be had here, with the reason:
  /// `gpu_cache` without a GPU, `fragment` without jemalloc, `oom` without a memory
  /// limit that would end this process alone.
  expected<void> inject(const wire::fault_spec& what, model::classifier& by,
                        std::string_view image);

private:
  void keep_block(uint64_t bytes);

  struct kept; ///< What is never let go.
  std::unique_ptr<kept> kept_;
};

} // namespace ziyu::worker
