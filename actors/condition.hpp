#pragma once

#include "actors/protocol.hpp"

#include <string>
#include <vector>

namespace ziyu::actors {

/// A summary of the service's parts, for `/readyz`, `/health` and `ziyu_ready`. Pure.
struct condition {
  /// Why a job that is submitted now would not be worked on; empty: it would be.
  std::vector<std::string> obstacles;
  /// Trouble although jobs are worked on.
  std::vector<std::string> concerns;
  /// All obstacles are those of any start.
  bool begins = false;

  bool ready() const { return obstacles.empty(); }

  /// "healthy", "starting" (`begins`, and it was never ready before) or "degraded".
  const char* status(bool was_ready) const;
};

/// @param tighten_at Share of the container's memory above which memory is a concern.
condition assess(const dispatcher_status& d, const supervisor_status& v, double tighten_at);

/// Used memory as a share of the limit, 0 without one.
double memory_share(const supervisor_status& v);

} // namespace ziyu::actors
