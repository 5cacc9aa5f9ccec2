#include "model/preprocess.hpp"

#include "model/resample.hpp"

#include <ATen/ops/empty.h>
#include <opencv2/core.hpp>

#include <algorithm>
#include <array>

namespace ziyu::model {
namespace {

struct full_size {
  int64_t width = 0, height = 0;
};

/// torchvision's `Resize`: to exactly the input, or the shorter edge to
/// `resize` and the longer one in proportion, rounded down.
full_size resized(const cv::Mat& image, const preprocessing& how) {
  const int64_t width = image.cols, height = image.rows;
  if (how.squash)
    return {how.crop_width, how.crop_height};
  if (how.resize == 0)
    return {width, height};
  const int64_t shorter = how.resize;
  if (width <= height)
    return {shorter, shorter * height / width};
  return {shorter * width / height, shorter};
}

/// Where one axis of the crop lies.
struct axis_crop {
  int64_t from = 0; ///< First sample of the resized image.
  int to = 0;       ///< First sample of the crop; before it is padding.
  int count = 0;
};

/// torchvision's `CenterCrop`: pads a smaller image with black, crops a larger one
/// at Python's `round(difference / 2)`, which rounds halves to even.
axis_crop centered(int64_t full, uint32_t crop) {
  const auto wanted = static_cast<int64_t>(crop);
  if (full < wanted)
    return {0, static_cast<int>((wanted - full) / 2), static_cast<int>(full)};
  const auto difference = full - wanted;
  auto from = difference / 2;
  if (difference % 2 == 1 && from % 2 == 1)
    ++from;
  return {from, 0, static_cast<int>(wanted)};
}

/// PIL's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.
cv::Mat to_grey(const cv::Mat& bgr) {
  cv::Mat result(bgr.rows, bgr.cols, CV_8UC1);
  for (int y = 0; y < bgr.rows; ++y) {
    const auto* in = bgr.ptr(y);
    auto* out = result.ptr(y);
    for (int x = 0; x < bgr.cols; ++x, in += 3)
      out[x] = static_cast<uint8_t>((in[2] * 19595 + in[1] * 38470 + in[0] * 7471 + 0x8000) >> 16);
  }
  return result;
}

/// ToTensor and Normalize of every possible pixel value of one channel.
std::array<float, 256> normalized(const preprocessing& how, size_t channel) {
  std::array<float, 256> result;
  for (size_t i = 0; i < result.size(); ++i) {
    auto value = static_cast<float>(i) / 255.0f;
    if (how.invert)
      value = 1.0f - value;
    result[i] = (value - how.mean[channel]) / how.stddev[channel];
  }
  return result;
}

} // namespace

at::Tensor preprocess(const decoded_image& image, const preprocessing& how) {
  const bool grey = how.channels == preprocessing::colour::grey;
  const int channels = grey ? 1 : 3;
  const auto source = grey ? to_grey(image.pixels) : image.pixels;
  const auto full = resized(source, how);
  const auto across = centered(full.width, how.crop_width);
  const auto down = centered(full.height, how.crop_height);
  const resample_window window{full.width, full.height,  across.from,
                               down.from,  across.count, down.count};
  const auto pixels = resample(source, window, how.filter);

  auto result = at::empty({1, channels, how.crop_height, how.crop_width}, at::kFloat);
  const auto plane_size = static_cast<size_t>(how.crop_width) * how.crop_height;
  for (int channel = 0; channel < channels; ++channel) {
    const auto values = normalized(how, static_cast<size_t>(channel));
    auto* plane = result.data_ptr<float>() + static_cast<size_t>(channel) * plane_size;
    if (pixels.total() != plane_size)
      std::fill_n(plane, plane_size, values[0]);
    const int source_channel = grey ? 0 : 2 - channel; // BGR to RGB
    for (int y = 0; y < pixels.rows; ++y) {
      const auto* in = pixels.ptr(y) + source_channel;
      auto* out = plane + static_cast<size_t>(down.to + y) * how.crop_width + across.to;
      for (int x = 0; x < pixels.cols; ++x, in += channels)
        out[x] = values[*in];
    }
  }
  return result;
}

} // namespace ziyu::model
