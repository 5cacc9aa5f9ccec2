#include "model/preprocess.hpp"

#include "model/geometry.hpp"
#include "model/resample.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace ziyu::model {
namespace {

int channels_of(const preprocessing& how) {
  return how.channels == preprocessing::colour::grey ? 1 : 3;
}

/// Where the numbers of a row of a batch lie: steps from one to the next.
struct steps {
  int64_t channel, down, across;
};

/// Where the pixels of an image as stored go in the upright window.
class turned {
public:
  turned(uint32_t orientation, const resample_window& window, const steps& by) {
    const auto across = is_stored_backwards_across(orientation) ? -by.across : by.across;
    const auto down = is_stored_backwards_down(orientation) ? -by.down : by.down;
    first_ = (across < 0 ? -across * (window.width - 1) : 0)
             + (down < 0 ? -down * (window.height - 1) : 0);
    row_step_ = orientation >= 5 ? across : down;
    pixel_step_ = orientation >= 5 ? down : across;
  }

  /// The first pixel of a stored row.
  int64_t row(uint32_t y) const { return first_ + row_step_ * y; }
  /// From one pixel of the row to the next.
  int64_t step() const { return pixel_step_; }

private:
  int64_t first_, row_step_, pixel_step_;
};

} // namespace

preprocessor::preprocessor(const preprocessing& how, precision numbers)
  : how_(how), numbers_(numbers) {
  for (size_t channel = 0; channel < static_cast<size_t>(channels_of(how)); ++channel)
    for (size_t i = 0; i < 256; ++i) {
      auto value = static_cast<float>(i) / 255.0f;
      if (how.invert)
        value = 1.0f - value;
      values_[channel][i] = (value - how.mean[channel]) / how.stddev[channel];
    }
}

at::Tensor preprocessor::batch(int64_t rows) const {
  return at::empty(
    {rows, channels_of(how_), how_.crop_height, how_.crop_width},
    at::TensorOptions{numbers_ == precision::bf16 ? at::kBFloat16 : at::kFloat}.memory_format(
      at::MemoryFormat::ChannelsLast));
}

template <class Number>
void preprocessor::write(const decoded_image& image, at::Tensor& batch, int64_t row) const {
  const auto channels = static_cast<size_t>(channels_of(how_));
  const auto where = place(image.width(), image.height(), how_);
  const resample_window window{where};
  const steps by{batch.stride(1), batch.stride(2), batch.stride(3)};
  auto* const origin = batch.data_ptr<Number>() + row * batch.stride(0);
  const auto size = how_.crop_width * uint64_t{how_.crop_height};
  std::array<std::array<Number, 256>, 3> values;
  for (size_t c = 0; c < channels; ++c)
    std::copy(values_[c].begin(), values_[c].end(), values[c].begin());
  if (uint64_t(window.width) * static_cast<uint64_t>(window.height) != size)
    for (uint32_t y = 0; y < how_.crop_height; ++y)
      for (uint32_t x = 0; x < how_.crop_width; ++x)
        for (size_t c = 0; c < channels; ++c)
          origin[y * by.down + x * by.across + static_cast<int64_t>(c) * by.channel] =
            values[c][how_.fill[c]];
  auto* const first = origin + where.down.to * by.down + where.across.to * by.across;
  const turned places{image.orientation, window, by};
  const auto pixels = static_cast<size_t>(image.orientation >= 5 ? window.height : window.width);
  const auto step = places.step();
  resample(image, channels == 1, window, how_.filter, [&](uint32_t y, const uint8_t* in) {
    auto* out = first + places.row(y);
    if (channels == 1) {
      for (size_t x = 0; x < pixels; ++x, out += step)
        *out = values[0][in[x]];
      return;
    }
    for (size_t x = 0; x < pixels; ++x, in += 3, out += step) {
      out[0] = values[0][in[0]];
      out[by.channel] = values[1][in[1]];
      out[2 * by.channel] = values[2][in[2]];
    }
  });
}

void preprocessor::preprocess(const decoded_image& image, at::Tensor& batch, int64_t row) const {
  if (numbers_ == precision::bf16)
    write<at::BFloat16>(image, batch, row);
  else
    write<float>(image, batch, row);
}

at::Tensor preprocessor::preprocess(const decoded_image& image) const {
  auto result = batch(1);
  preprocess(image, result, 0);
  return result;
}

} // namespace ziyu::model
