#pragma once

#include "model/classifier.hpp"

namespace ziyu::model {

/// Loads the model of a folder in the precision that is wanted.
///
/// `automatic` compares bf16 with fp32 on this machine, on the images in the folder's `agreement/`
/// (at least 32; the first 256 by name are used). bf16 is chosen if at least 99 % of the images get
/// the same best label, and if it takes at most 95 % of the processor time. Otherwise it is fp32,
/// and a warning in the model folder says why.
///
/// Errors: those of `classifier::load`; with `automatic`, those of fp32 only.
expected<classifier> load_in_precision(const std::filesystem::path& folder,
                                       const decode_limits& limits, precision_wish wish);

} // namespace ziyu::model
