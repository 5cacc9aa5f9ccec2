#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace ziyu::model {

/// The kind of a weights file that libtorch cannot load as TorchScript, and what to do: "is ONNX,
/// not TorchScript; …", to be put behind the file's name. It is recognised by the file's first
/// bytes and, for a ZIP archive, its directory. Empty for TorchScript, for a file that cannot be
/// read or ends early, and for an unknown format.
std::optional<std::string> foreign_weights(const std::filesystem::path& file);

} // namespace ziyu::model
