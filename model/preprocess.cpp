#include "model/preprocess.hpp"

#include "model/geometry.hpp"
#include "model/resample.hpp"

#include <ATen/ops/empty.h>
#include <opencv2/core.hpp>

#include <algorithm>
#include <array>

namespace ziyu::model {
namespace {

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
  const auto [full_width, full_height, across, down] = place(source.cols, source.rows, how);
  const resample_window window{full_width, full_height,  across.from,
                               down.from,  across.count, down.count};
  const auto pixels = resample(source, window, how.filter);

  auto result = at::empty({1, channels, how.crop_height, how.crop_width}, at::kFloat);
  const auto plane_size = static_cast<size_t>(how.crop_width) * how.crop_height;
  for (int channel = 0; channel < channels; ++channel) {
    const auto values = normalized(how, static_cast<size_t>(channel));
    auto* plane = result.data_ptr<float>() + static_cast<size_t>(channel) * plane_size;
    if (pixels.total() != plane_size)
      std::fill_n(plane, plane_size, values[how.fill[static_cast<size_t>(channel)]]);
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
