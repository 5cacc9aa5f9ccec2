#pragma once

#include "configs/schema.hpp"

namespace ziyu::configs {

/// Replaces a `jobs.max_pixels` of 0 by the largest number that fits (`fitting_pixels`). `document`
/// is complete. Does nothing when a key that matters is in `broken`.
void fit_pixels(nlohmann::json& document, const std::vector<violation>& broken);

/// The rules that tie several keys together, and the librdkafka properties that
/// an operator must leave alone. `document` is complete (all defaults filled in).
/// Rules about a key in `broken` (violations found before) are skipped.
std::vector<violation> check_rules(const nlohmann::json& document,
                                   const std::vector<violation>& broken);

} // namespace ziyu::configs
