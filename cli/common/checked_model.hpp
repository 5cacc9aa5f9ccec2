#pragma once

#include "supervision/model_options.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ziyu::cli {

/// The command by which ziyu-worker loads a model folder, compares what may serve of it, and
/// describes all that as JSON.
std::vector<std::string> check_model_command(const std::filesystem::path& worker,
                                             const std::string& folder, uint64_t max_batch,
                                             const supervision::model_options& how);

/// What that JSON warns of, a sentence each.
std::vector<std::string> warnings_of_model(const nlohmann::json& document);

} // namespace ziyu::cli
