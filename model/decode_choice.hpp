#pragma once

#include "model/agreement.hpp"
#include "model/decoder.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ziyu::model {

class classifier;

/// What the configuration asks for.
enum class decode_wish : uint8_t {
  exact,
  reduced,
  automatic, ///< `reduced` where it agrees with `exact`: see `choose_decoding`.
};
std::string_view to_string(decode_wish x) noexcept; ///< "exact", "reduced", "auto"
bool from_string(std::string_view name, decode_wish& x) noexcept;

/// How JPEGs are decoded, and what speaks for it.
struct decode_choice {
  decoding how = decoding::exact;
  /// With `automatic`: of the images in `agreement/` that `reduced` decodes smaller.
  std::optional<agreement> agreed{};
  /// Time to decode and to resize such an image, in microseconds; 0: not measured.
  double exact_us = 0, reduced_us = 0;
  std::string why_not{}; ///< With `automatic`: why it is not `reduced`.
};

/// `automatic` is `reduced` if at least 99 % of the images in the
/// folder's `agreement/` that are decoded smaller then (at least 32; the first 256 by name are
/// looked at) get the same best label.
decode_choice choose_decoding(classifier& by, decode_wish wish);

/// Tells `by` how to decode; a warning in the model folder says why it is not as wished.
void use_decoding(classifier& by, const decode_choice& x);

} // namespace ziyu::model
