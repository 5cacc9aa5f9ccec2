#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::model {

/// How many images got the same best label in two ways to classify them.
struct agreement {
  size_t compared = 0, alike = 0;

  double share() const { return static_cast<double>(alike) / static_cast<double>(compared); }
};

/// The user's images in `agreement/` of a model folder, by which `auto` judges what is faster and
/// answers otherwise. The first 256 by name count.
class agreement_images {
public:
  static constexpr size_t least = 32; ///< Fewer say nothing.

  explicit agreement_images(const std::filesystem::path& model_folder);

  size_t size() const { return files_.size(); }

  /// The best label of an image; nothing: it does not count, e.g., it is damaged.
  using labeller = std::function<std::optional<uint32_t>(const std::filesystem::path& file,
                                                         std::string_view bytes)>;

  /// Takes images until all are compared, or until there are enough and half of a fork server's
  /// usual time to start has passed. `got` is asked only where `wanted` has a label.
  agreement compare(const labeller& wanted, const labeller& got) const;

  /// Says why `x` (e.g., "bf16") may not serve after a comparison; empty: it may. `kind` says which
  /// images count: "images to compare by".
  std::string why_not(const std::string& x, const agreement& by,
                      const std::string& kind = "images to compare by") const;

  std::string too_few(size_t count, const std::string& kind = "images to compare by") const;

private:
  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
};

} // namespace ziyu::model
