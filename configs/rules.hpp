#pragma once

#include "configs/schema.hpp"

namespace ziyu::configs {

/// Replaces `jobs.max_pixels` 0 by as many as fit (`fitting_pixels`). `document` is complete;
/// nothing is done when a key that matters is in `broken`.
void fit_pixels(nlohmann::json& document, const std::vector<violation>& broken);

/// The rules that tie several keys together, and the librdkafka properties that
/// an operator must leave alone. `document` is complete (all defaults filled in).
/// Rules about a key in `broken` (violations found before) are skipped.
std::vector<violation> check_rules(const nlohmann::json& document,
                                   const std::vector<violation>& broken);

} // namespace ziyu::configs
