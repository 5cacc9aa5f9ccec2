#include "model/geometry.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::model {
namespace {

struct full_size {
  int64_t width = 0, height = 0;
};

/// timm's `ResizeKeepRatio`: in double precision, rounded half to even, as Python does.
full_size in_proportion(int64_t width, int64_t height, const preprocessing& how) {
  const auto across = static_cast<double>(width) / how.resize_width;
  const auto down = static_cast<double>(height) / how.resize_height;
  const auto ratio = how.fit == preprocessing::fitting::contain ? std::max(across, down)
                                                                : std::min(across, down);
  const auto scaled = [ratio](int64_t edge) {
    return std::max<int64_t>(1, std::llrint(static_cast<double>(edge) / ratio));
  };
  return {scaled(width), scaled(height)};
}

full_size resized(int64_t width, int64_t height, const preprocessing& how) {
  if (how.squash)
    return {how.crop_width, how.crop_height};
  if (how.resize_width != 0) {
    if (how.fit == preprocessing::fitting::squash)
      return {how.resize_width, how.resize_height};
    return in_proportion(width, height, how);
  }
  if (how.resize == 0)
    return {width, height};
  // torchvision's `Resize`: the longer edge in proportion, rounded down.
  const int64_t shorter = how.resize;
  if (width <= height)
    return {shorter, shorter * height / width};
  return {shorter * width / height, shorter};
}

/// Pads a smaller image, crops a larger one in its middle. Python's
/// `round(difference / 2)` rounds halves to even; `down` rounds them down.
axis_crop centered(int64_t full, uint32_t crop, bool down) {
  const auto wanted = static_cast<int64_t>(crop);
  if (full < wanted)
    return {0, static_cast<int>((wanted - full) / 2), static_cast<int>(full)};
  const auto difference = full - wanted;
  auto from = difference / 2;
  if (!down && difference % 2 == 1 && from % 2 == 1)
    ++from;
  return {from, 0, static_cast<int>(wanted)};
}

} // namespace

placement place(int64_t width, int64_t height, const preprocessing& how) {
  const auto full = resized(width, height, how);
  return {full.width, full.height, centered(full.width, how.crop_width, how.crops_down),
          centered(full.height, how.crop_height, how.crops_down)};
}

} // namespace ziyu::model
