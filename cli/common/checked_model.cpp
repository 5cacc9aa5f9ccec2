#include "cli/common/checked_model.hpp"

#include "cli/common/json.hpp"

namespace ziyu::cli {

std::vector<std::string> check_model_command(const std::filesystem::path& worker,
                                             const std::string& folder,
                                             const std::string& precision, uint64_t max_batch,
                                             const std::string& compiled_path) {
  std::vector<std::string> result{
    worker.string(), "--check-model",          folder, "--precision", precision,
    "--max-batch",   std::to_string(max_batch)};
  if (!compiled_path.empty())
    result.insert(result.end(), {"--compiled-path", compiled_path});
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
