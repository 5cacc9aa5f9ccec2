#include "model/precision.hpp"

namespace ziyu::model {

std::string_view to_string(precision x) noexcept {
  switch (x) {
  case precision::fp32: return "fp32";
  case precision::bf16: return "bf16";
  case precision::int8: return "int8";
  }
  return "unknown";
}

std::string_view to_string(precision_wish x) noexcept {
  switch (x) {
  case precision_wish::fp32: return "fp32";
  case precision_wish::bf16: return "bf16";
  case precision_wish::int8: return "int8";
  case precision_wish::automatic: return "auto";
  }
  return "unknown";
}

bool from_string(std::string_view name, precision_wish& x) noexcept {
  for (const auto each : {precision_wish::fp32, precision_wish::bf16, precision_wish::int8,
                          precision_wish::automatic})
    if (name == to_string(each)) {
      x = each;
      return true;
    }
  return false;
}

} // namespace ziyu::model
