#pragma once

#include "base/error.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::model {

/// How an image becomes a tensor; the words are torchvision's.
struct preprocessing {
  enum class colour : uint8_t { rgb, grey };
  colour channels = colour::rgb; ///< 3 or 1 input planes.
  uint32_t resize = 0;           ///< Shorter edge, before the crop; 0: none (see `squash`).
  bool squash = false;           ///< Resize to exactly input width × height, no crop.
  /// A box before the crop, instead of `resize`; 0 × 0: none.
  uint32_t resize_height = 0, resize_width = 0;
  /// How the image fits that box: exactly, changing proportions; in proportion and no smaller; in
  /// proportion and no larger.
  enum class fitting : uint8_t { squash, cover, contain };
  fitting fit = fitting::squash;
  std::array<uint8_t, 3> fill{}; ///< What pads a smaller image: RGB, or grey first.
  bool crops_down = false;       ///< Rounds half a pixel of the crop's offset down, else to even.
  uint32_t crop_height = 224, crop_width = 224; ///< Centre crop = the model's input.
  enum class interpolation : uint8_t { bilinear, bicubic };
  interpolation filter = interpolation::bilinear; ///< Antialiased, as PIL does it.
  std::vector<float> mean, stddev;                ///< One per channel, on the 0..1 scale.
  bool invert = false; ///< 1 − x after ToTensor (dark on light digits).
};

/// How the model's answers become the numbers of a result: softmax over all classes (one label an
/// image), sigmoid of each (several labels), or unchanged.
enum class activation : uint8_t { softmax, sigmoid, none };

/// A model folder, read and checked except for the weights themselves.
struct model_folder {
  std::filesystem::path path, weights;
  std::string name, version, sha256, precision; ///< "fp32".
  preprocessing input;
  activation output = activation::softmax;
  std::optional<float> threshold;  ///< Classes below it are not answered; never with softmax.
  std::vector<std::string> labels; ///< UTF-8; index = class.
  double held_out_accuracy = 0;    ///< 0 when not stated.
  /// What can be served but looks like a mistake, a sentence each (see `label_warnings`).
  std::vector<std::string> warnings;
};

/// Reads `<path>/model.json` and `labels.txt` and checks the weights' SHA-256.
/// Errors: `model_missing`, `model_corrupt`, `labels_mismatch`, and
/// `model_mismatch` for weights of a known other format (see
/// `foreign_weights`), each naming the file and what to do.
expected<model_folder> read_model_folder(const std::filesystem::path& path);

} // namespace ziyu::model
