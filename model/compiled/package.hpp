#pragma once

#include "base/error.hpp"
#include "model/compiled/host.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::model::compiled {

/// A weight of generated code: where it is in the package's constants, and how it is laid out.
struct constant {
  std::string name, dtype; ///< "_frozen_param3", "bfloat16"
  uint64_t at = 0, bytes = 0;
  std::vector<int64_t> shape, stride;
  int64_t offset = 0;
  bool blocked = false; ///< In a layout of oneDNN, which `metadata` describes.
  std::string metadata; ///< Bytes.
};

/// The code for a number of images.
struct batch_code {
  uint32_t rows = 0;
  std::filesystem::path library;
  std::vector<constant> constants;
};

/// What tools/optimize_model.py makes for one precision.
struct package {
  std::filesystem::path path;
  std::string precision; ///< "fp32", "bf16", "int8"
  std::filesystem::path constants;
  std::vector<batch_code> batches; ///< For 1, 2, 4 ... images.
};

/// The package for the weights with this SHA-256 on this kind of machine, in
/// `root`/`sha256`[0:16]/`here.folder()`/`precision`. Nothing when these weights have not been
/// compiled in this precision for any machine. Errors: `model_mismatch` when they have been for
/// other machines only, or when the package says that it is for something else; `model_corrupt`
/// when it cannot be read.
expected<std::optional<package>> find_package(const std::filesystem::path& root,
                                              std::string_view sha256, const host& here,
                                              std::string_view precision);

} // namespace ziyu::model::compiled
