#pragma once

#include "model/model_folder.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ziyu::model {

/// The weights with which input samples make each output sample of one axis, in Pillow's fixed
/// point.
struct axis {
  /// Of a weight: 8 bits of pixel and 2 bits of head room for overshoot are left.
  static constexpr int precision_bits = 32 - 8 - 2;
  /// What a sum of weighted samples starts with, so that it is rounded.
  static constexpr int32_t half = 1 << (precision_bits - 1);

  struct span {
    int first = 0; ///< First input sample.
    int count = 0;
    size_t weights = 0; ///< Where this sample's weights start.
  };
  std::vector<span> spans; ///< One per output sample of the window.
  std::vector<int32_t> weights;
  int size = 0; ///< Input samples.

  int begin() const { return spans.front().first; }
  int end() const { return spans.back().first + spans.back().count; }
};

/// The input samples that an axis reads: those from `begin` up to `end`.
struct sample_range {
  int begin = 0, end = 0;
};

/// The axis that resizes `in_size` samples to `out_size`, of which it makes `count` from `offset`
/// on. Takes 4 bytes for each weight.
/// @pre in_size > 0, 0 < count, offset + count <= out_size
axis make_axis(int in_size, int64_t out_size, int64_t offset, int count,
               preprocessing::interpolation filter);

/// What `make_axis` of these would read, without its weights.
sample_range read_by_axis(int in_size, int64_t out_size, int64_t offset, int count,
                          preprocessing::interpolation filter);

/// Turns an axis round for an image that is stored backwards. The weights stay those of the upright
/// image, since their rounding need not be symmetric.
void mirror(axis& x);

/// Numbers the input samples from `by` on.
void shift(axis& x, int by);

} // namespace ziyu::model
