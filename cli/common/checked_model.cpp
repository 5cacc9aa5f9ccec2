#include "cli/common/checked_model.hpp"

#include "cli/common/json.hpp"

namespace ziyu::cli {

std::vector<std::string> check_model_command(const std::filesystem::path& worker,
                                             const std::string& folder, uint64_t max_batch,
                                             const supervision::model_options& how) {
  std::vector<std::string> result{worker.string(), "--check-model", folder, "--max-batch",
                                  std::to_string(max_batch)};
  for (auto& x : how.arguments())
    result.push_back(std::move(x));
  return result;
}

std::vector<std::string> warnings_of_model(const nlohmann::json& document) {
  std::vector<std::string> result;
  for (const auto* key : {"warnings", "refused"})
    if (const auto& list = field(document, key); list.is_array())
      for (const auto& warning : list)
        if (warning.is_string())
          result.push_back(warning.get<std::string>());
  return result;
}

} // namespace ziyu::cli
