#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// How ziyu-worker is to load a model: the service's fork servers, and the commands that show what
/// they will do.
struct model_options {
  std::string precision = "fp32";   ///< "fp32", "bf16", "int8", "auto".
  std::string decode = "exact";     ///< "exact", "reduced", "auto".
  std::filesystem::path compiled{}; ///< Packages; empty: in the model folder.

  /// For the command line of ziyu-worker.
  std::vector<std::string> arguments() const {
    std::vector<std::string> result{"--precision", precision, "--decode", decode};
    if (!compiled.empty())
      result.insert(result.end(), {"--compiled-path", compiled.string()});
    return result;
  }
};

} // namespace ziyu::supervision
