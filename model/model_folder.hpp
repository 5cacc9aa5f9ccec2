#pragma once

#include "base/error.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace ziyu::model {

/// How an image becomes a tensor; the words are torchvision's.
struct preprocessing {
  enum class colour : uint8_t { rgb, grey };
  colour channels = colour::rgb; ///< 3 or 1 input planes.
  uint32_t resize = 0;           ///< Shorter edge, before the crop; 0: none (see `squash`).
  bool squash = false;           ///< Resize to exactly input width × height, no crop.
  uint32_t crop_height = 224, crop_width = 224; ///< Centre crop = the model's input.
  enum class interpolation : uint8_t { bilinear, bicubic };
  interpolation filter = interpolation::bilinear; ///< Antialiased, as PIL does it.
  std::vector<float> mean, stddev;                ///< One per channel, on the 0..1 scale.
  bool invert = false; ///< 1 − x after ToTensor (dark on light digits).
};

/// A model folder, read and checked except for the weights themselves.
struct model_folder {
  std::filesystem::path path, weights;
  std::string name, version, sha256, precision; ///< "fp32".
  preprocessing input;
  std::vector<std::string> labels; ///< UTF-8; index = class.
  double held_out_accuracy = 0;    ///< 0 when not stated.
};

/// Reads `<path>/model.json` and `labels.txt` and checks the weights' SHA-256.
/// Errors: `model_missing`, `model_corrupt`, `labels_mismatch`, each naming the
/// file and what to do.
expected<model_folder> read_model_folder(const std::filesystem::path& path);

} // namespace ziyu::model
