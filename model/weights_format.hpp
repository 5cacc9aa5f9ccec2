#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace ziyu::model {

/// What a file of weights is that libtorch cannot load as TorchScript, and what to do:
/// "is ONNX, not TorchScript; …", to be put behind the file's name. Told from the file's
/// first bytes and, for a ZIP archive, its directory. Nothing for TorchScript, for a file that
/// cannot be read or ends early and for one of no known format.
std::optional<std::string> foreign_weights(const std::filesystem::path& file);

} // namespace ziyu::model
