#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ziyu::cli {

/// The command by which ziyu-worker loads a model folder, compares what may serve of it, and
/// describes all that as JSON. An empty `compiled_path` is that of the folder.
std::vector<std::string> check_model_command(const std::filesystem::path& worker,
                                             const std::string& folder,
                                             const std::string& precision, uint64_t max_batch,
                                             const std::string& compiled_path);

/// What that JSON warns of, a sentence each.
std::vector<std::string> warnings_of_model(const nlohmann::json& document);

} // namespace ziyu::cli
