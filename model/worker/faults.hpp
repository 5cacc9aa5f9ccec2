#pragma once

#include "model/classifier.hpp"
#include "supervision/wire/fault_spec.hpp"

#include <memory>
#include <string_view>

namespace ziyu::worker {

/// Applies a fault specification to this worker, once per job.
class fault_injector {
public:
  fault_injector();
  ~fault_injector();

  /// Called after the job's own work, before its memory is read. `crash`, `hang` and `oom` do not
  /// return. The caller, who has the socket, does `garbage`.
  /// @param image The job's encoded image.
  /// @returns `unavailable` with the reason for a fault that is not possible here: `gpu_cache`
  /// without a GPU, `fragment` without jemalloc, `oom` without a memory limit that would end only
  /// this process.
  expected<void> inject(const wire::fault_spec& what, model::classifier& by,
                        std::string_view image);

private:
  void keep_block(uint64_t bytes);

  struct kept; ///< Memory that is never released.
  std::unique_ptr<kept> kept_;
};

} // namespace ziyu::worker
