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

  /// Called after the job's own work, before its memory is read.
  /// @param image The job's encoded image.
  void inject(const wire::fault_spec& what, model::classifier& by, std::string_view image);

private:
  struct kept; ///< What is never let go.
  std::unique_ptr<kept> kept_;
};

} // namespace ziyu::worker
