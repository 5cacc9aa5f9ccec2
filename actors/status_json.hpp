#pragma once

#include "actors/protocol.hpp"

#include <nlohmann/json.hpp>

namespace ziyu::actors {

/// The answer of `GET /models`.
nlohmann::json models_json(const supervisor_status& x);

/// The answer of `GET /workers`.
nlohmann::json workers_json(const supervisor_status& x);

} // namespace ziyu::actors
