#pragma once

#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// The numbers that a model computes with. The weights in a model folder are fp32.
enum class precision : uint8_t {
  fp32,
  bf16, ///< bfloat16: as wide as fp32, with 8 bits of mantissa. Fast where the processor has it.
  int8, ///< Weights and activations of 8 bits, with scales; input and answers are fp32.
};
std::string_view to_string(precision x) noexcept;

/// What the configuration asks for.
enum class precision_wish : uint8_t {
  fp32,
  bf16,
  int8,      ///< From a compiled package only.
  automatic, ///< What agrees with fp32 and is the fastest here: see `choose_model`.
};
std::string_view to_string(precision_wish x) noexcept; ///< "fp32", "bf16", "int8", "auto"
bool from_string(std::string_view name, precision_wish& x) noexcept;

} // namespace ziyu::model
