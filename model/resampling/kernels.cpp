#include "model/resampling/kernels.hpp"

#include "model/resampling/axis.hpp"

#include <algorithm>

namespace ziyu::model {
namespace {

uint8_t to_pixel(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> axis::precision_bits, 0, 255));
}

void pack(const int32_t* weights, int32_t* words) { std::copy_n(weights, 4, words); }

template <int channels>
void across(const std::array<const uint8_t*, 4>& in, const std::array<uint8_t*, 4>& out,
            const packed_axis& columns) {
  for (size_t row = 0; row < 4; ++row) {
    const auto* weight = columns.words.data();
    auto* result = out[row];
    for (const auto& span : columns.spans) {
      const auto* pixel = in[row] + static_cast<size_t>(span.first) * channels;
      int32_t sums[channels];
      std::fill_n(sums, channels, axis::half);
      for (int x = 0; x < 4 * span.groups; ++x, ++weight)
        for (int c = 0; c < channels; ++c)
          sums[c] += *pixel++ * *weight;
      for (int c = 0; c < channels; ++c)
        *result++ = to_pixel(sums[c]);
    }
  }
}

void down(const uint8_t* const* rows, const int32_t* words, size_t groups, size_t size,
          const int32_t* before, int32_t* sums, uint8_t* out) {
  // As many at a time as fit into registers.
  constexpr size_t block = 16;
  for (size_t at = 0; at < size; at += block) {
    const auto count = std::min(block, size - at);
    int32_t sum[block];
    if (before != nullptr)
      std::copy_n(before + at, count, sum);
    else
      std::fill_n(sum, count, axis::half);
    for (size_t k = 0; k < 4 * groups; ++k)
      for (size_t i = 0; i < count; ++i)
        sum[i] += rows[k][at + i] * words[k];
    if (out == nullptr)
      std::copy_n(sum, count, sums + at);
    else
      std::transform(sum, sum + count, out + at, to_pixel);
  }
}

} // namespace

const kernels& scalar_kernels() {
  static constexpr kernels result{"scalar", 4, pack, across<3>, across<1>, down};
  return result;
}

const kernels& best_kernels() {
  static const auto& result = [&]() -> const kernels& {
    for (const auto* x : {avx512_kernels(), avx2_kernels()})
      if (x != nullptr)
        return *x;
    return scalar_kernels();
  }();
  return result;
}

} // namespace ziyu::model
