#pragma once

#include "model/classifier.hpp"
#include "model/decode_choice.hpp"

#include <optional>

namespace ziyu::model {

struct choice_request {
  precision_wish wish = precision_wish::fp32;
  decode_wish decode = decode_wish::exact;
  /// Where packages of tools/optimize_model.py stand; empty: in `compiled/` of the model folder.
  std::filesystem::path compiled = {};
  uint32_t most_rows = 1; ///< The most images that are to run together.
  /// Measure what `automatic` has measured before, too, and keep the new result.
  bool anew = false;
};

/// A way to run the model, and what it is worth on this machine.
struct variant {
  std::string name; ///< "fp32", "bf16", "fp32 compiled", "bf16 compiled", "int8 compiled"
  /// Processor time for 1, 2, 4 ... images together, in microseconds; empty: not measured.
  std::vector<uint32_t> batch_us;
  /// The part of the images in `agreement/` with the same best label as in fp32.
  std::optional<double> agreement;
  std::string why_not; ///< Empty for the chosen one, and for fp32.

  /// Of the best number of images together, in microseconds; 0: not measured.
  double image_us() const;
};

struct chosen_model {
  classifier by;
  std::string name;              ///< Of the chosen variant.
  std::vector<variant> variants; ///< What has been compared, best first; may be empty.
  /// Why compiled packages that are there do not serve, a sentence each.
  std::vector<std::string> refused;
  decode_choice decode{};
  bool was_kept = false; ///< `automatic` has not measured this time.
};

/// Loads the model of a folder as it is wanted. Call it in a process with one thread.
///
/// `fp32` and `bf16` take the compiled package of that precision if there is one for this machine
/// and these weights, if it survives a probe in a child process, answers as TorchScript does, and
/// is no slower than TorchScript in fp32; else TorchScript. So does `int8`, which falls back to
/// fp32.
///
/// `automatic` compares TorchScript and packages in all precisions. bf16 and int8 are chosen only
/// if at least 99 % of the images in the folder's `agreement/` (at least 32; the first 256 by name
/// are used) get the same best label as with fp32. The fastest is chosen, if it takes at most 95 %
/// of the processor time of TorchScript in fp32. A warning in the model folder says why bf16 is
/// not. What `automatic` has chosen is kept beside the packages, if there is a folder for them, and
/// is taken by the next call that asks for the same (`kept_choice`). JPEGs are decoded as
/// `choose_decoding` says for what has been chosen.
///
/// Errors: those of `classifier::load`; with `automatic`, those of fp32 only. `model_missing` with
/// `int8` when there is no package in int8 for any machine.
expected<chosen_model> choose_model(const std::filesystem::path& folder,
                                    const decode_limits& limits, const choice_request& request);

} // namespace ziyu::model
