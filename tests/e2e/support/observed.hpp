#pragma once

#include "e2e/support/service.hpp"
#include "tests/support/metric_text.hpp"

#include <nlohmann/json.hpp>

#include <string>

namespace ziyu::e2e {

/// The value of this series in `/metrics`, with its labels if it has any; 0 when there is none.
inline double metric(const service& s, const std::string& series) {
  return test::series_in(s.get("/metrics").body, series);
}

/// Whether `/health` says that the service is degraded, for a reason with these words. Its status
/// code must not be that of a failed probe: a restart would not help.
inline bool degraded_by(const service& s, const std::string& words) {
  const auto answer = s.get("/health");
  const auto health = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !health.is_object() || health.value("status", "") != "degraded")
    return false;
  for (const auto& reason : health.at("reasons"))
    if (reason.get<std::string>().find(words) != std::string::npos)
      return true;
  return false;
}

} // namespace ziyu::e2e
