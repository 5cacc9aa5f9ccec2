#include "model/preprocess.hpp"

#include "model/geometry.hpp"
#include "model/resample.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>

namespace ziyu::model {
namespace {

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
  const auto [full_width, full_height, across, down] = place(image.width(), image.height(), how);
  const resample_window window{full_width, full_height,  across.from,
                               down.from,  across.count, down.count};
  const auto pixels = resample(image, grey, window, how.filter);

  auto result = at::empty({1, channels, how.crop_height, how.crop_width}, at::kFloat);
  const auto plane_size = static_cast<size_t>(how.crop_width) * how.crop_height;
  for (int channel = 0; channel < channels; ++channel) {
    const auto values = normalized(how, static_cast<size_t>(channel));
    auto* plane = result.data_ptr<float>() + static_cast<size_t>(channel) * plane_size;
    if (uint64_t{pixels.width()} * pixels.height() != plane_size)
      std::fill_n(plane, plane_size, values[how.fill[static_cast<size_t>(channel)]]);
    for (uint32_t y = 0; y < pixels.height(); ++y) {
      const auto* in = pixels.row(y) + channel;
      auto* out = plane + (static_cast<size_t>(down.to) + y) * how.crop_width + across.to;
      for (uint32_t x = 0; x < pixels.width(); ++x, in += channels)
        out[x] = values[*in];
    }
  }
  return result;
}

} // namespace ziyu::model
