#include "model/resample.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>
#include <vector>

namespace ziyu::model {
namespace {

/// Pillow's fixed point: 8 bits of pixel, 2 bits of head room for overshoot.
constexpr int precision_bits = 32 - 8 - 2;
constexpr int32_t half = 1 << (precision_bits - 1);

double triangle(double x) {
  x = std::abs(x);
  return x < 1 ? 1 - x : 0;
}

/// Keys' cubic with a = -0.5 (OpenCV's has -0.75).
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2)
    return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// The weights with which input samples make each output sample of one axis.
struct axis {
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

axis make_axis(int in_size, int64_t out_size, int64_t offset, int count,
               preprocessing::interpolation filter) {
  const bool bicubic = filter == preprocessing::interpolation::bicubic;
  const auto function = bicubic ? cubic : triangle;
  const double scale = static_cast<double>(in_size) / static_cast<double>(out_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = (bicubic ? 2.0 : 1.0) * filter_scale;
  const double inverse = 1.0 / filter_scale;
  axis result;
  result.size = in_size;
  result.spans.reserve(static_cast<size_t>(count));
  size_t weights = 0;
  for (int i = 0; i < count; ++i) {
    const double center = (static_cast<double>(offset + i) + 0.5) * scale;
    // NOLINTBEGIN(bugprone-incorrect-roundings): as Pillow rounds
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), in_size);
    // NOLINTEND(bugprone-incorrect-roundings)
    result.spans.push_back({first, last - first, weights});
    weights += static_cast<size_t>(last - first);
  }
  result.weights.reserve(weights);
  for (int i = 0; i < count; ++i) {
    const double center = (static_cast<double>(offset + i) + 0.5) * scale;
    const auto& span = result.spans[static_cast<size_t>(i)];
    double sum = 0;
    for (int x = span.first; x < span.first + span.count; ++x)
      sum += function((x - center + 0.5) * inverse);
    for (int x = span.first; x < span.first + span.count; ++x) {
      auto weight = function((x - center + 0.5) * inverse);
      if (sum != 0)
        weight /= sum;
      const double scaled = weight * (1 << precision_bits);
      result.weights.push_back(static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return result;
}

/// Turns an axis round for an image that is stored backwards. The weights stay those of the upright
/// image, since their rounding need not be symmetric.
void mirror(axis& x) {
  std::reverse(x.weights.begin(), x.weights.end());
  std::reverse(x.spans.begin(), x.spans.end());
  for (auto& span : x.spans) {
    span.first = x.size - span.first - span.count;
    span.weights = x.weights.size() - span.weights - static_cast<size_t>(span.count);
  }
}

uint8_t to_pixel(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> precision_bits, 0, 255));
}

template <int channels>
void resample_row(const uint8_t* in, uint8_t* out, const axis& columns) {
  for (const auto& span : columns.spans) {
    const auto* weights = columns.weights.data() + span.weights;
    const auto* pixel = in + static_cast<size_t>(span.first) * channels;
    int32_t sums[channels];
    std::fill_n(sums, channels, half);
    for (int x = 0; x < span.count; ++x)
      for (int c = 0; c < channels; ++c)
        sums[c] += *pixel++ * weights[x];
    for (int c = 0; c < channels; ++c)
      *out++ = to_pixel(sums[c]);
  }
}

/// Adds `weight` times a row of pixels to their sums.
void add_row(const uint8_t* row, int32_t weight, int32_t* sums, size_t size) {
  for (size_t i = 0; i < size; ++i)
    sums[i] += row[i] * weight;
}

/// Rows of the stored pixels: RGB, or PIL's `convert("L")` of them, which is ITU-R 601-2 luma
/// in 16-bit fixed point.
template <int channels>
class row_source {
public:
  /// Only the columns from `begin` to `end` will be read.
  row_source(const pixel_grid& from, int begin, int end)
    : from_(from), begin_(static_cast<size_t>(begin)), end_(static_cast<size_t>(end)) {
    if (channels == 1)
      grey_.resize(from.width());
  }

  const uint8_t* operator()(int y) {
    const auto* row = from_.row(static_cast<uint32_t>(y));
    if constexpr (channels == 3)
      return row;
    const auto* in = row + 3 * begin_;
    for (auto x = begin_; x < end_; ++x, in += 3)
      grey_[x] = static_cast<uint8_t>((in[0] * 19595 + in[1] * 38470 + in[2] * 7471 + 0x8000)
                                      >> 16);
    return grey_.data();
  }

private:
  const pixel_grid& from_;
  size_t begin_, end_;
  std::vector<uint8_t> grey_;
};

template <int channels>
void horizontal_first(const pixel_grid& image, const axis& columns, const axis& rows,
                      pixel_grid& result) {
  const auto row_size = columns.spans.size() * channels;
  row_source<channels> source{image, columns.begin(), columns.end()};
  std::vector<uint8_t> row(row_size);
  std::vector<int32_t> sums(row_size * rows.spans.size(), half);
  // Each input row is resampled once and added to the output rows that it is part of. The sums are
  // whole numbers, so the order of the additions does not matter.
  size_t first_open = 0;
  for (int y = rows.begin(); y < rows.end(); ++y) {
    resample_row<channels>(source(y), row.data(), columns);
    while (rows.spans[first_open].first + rows.spans[first_open].count <= y)
      ++first_open;
    for (auto out = first_open; out < rows.spans.size() && rows.spans[out].first <= y; ++out) {
      const auto& span = rows.spans[out];
      add_row(row.data(), rows.weights[span.weights + static_cast<size_t>(y - span.first)],
              sums.data() + out * row_size, row_size);
    }
  }
  for (uint32_t y = 0; y < result.height(); ++y) {
    const auto* sum = sums.data() + y * row_size;
    std::transform(sum, sum + row_size, result.row(y), to_pixel);
  }
}

template <int channels>
void vertical_first(const pixel_grid& image, const axis& columns, const axis& rows,
                    pixel_grid& result) {
  // Columns outside of the window are not needed.
  const auto begin = static_cast<size_t>(columns.begin()) * channels,
             end = static_cast<size_t>(columns.end()) * channels;
  row_source<channels> source{image, columns.begin(), columns.end()};
  std::vector<uint8_t> row(end);
  std::vector<int32_t> sums(end - begin);
  for (uint32_t y = 0; y < result.height(); ++y) {
    const auto& span = rows.spans[y];
    std::fill(sums.begin(), sums.end(), half);
    for (int i = 0; i < span.count; ++i)
      add_row(source(span.first + i) + begin, rows.weights[span.weights + static_cast<size_t>(i)],
              sums.data(), sums.size());
    std::transform(sums.begin(), sums.end(), row.begin() + static_cast<std::ptrdiff_t>(begin),
                   to_pixel);
    resample_row<channels>(row.data(), result.row(y), columns);
  }
}

} // namespace

pixel_grid resample(const decoded_image& image, bool grey, const resample_window& window,
                    preprocessing::interpolation filter) {
  assert(image.pixels.channels() == 3 && !image.pixels.empty());
  assert(window.width > 0 && window.height > 0 && window.left >= 0 && window.top >= 0);
  assert(window.left + window.width <= window.full_width);
  assert(window.top + window.height <= window.full_height);
  const auto width = static_cast<int>(image.width()), height = static_cast<int>(image.height());
  auto columns = make_axis(width, window.full_width, window.left, window.width, filter);
  auto rows = make_axis(height, window.full_height, window.top, window.height, filter);
  // Since Pillow 13 the larger reduction comes first. The order shows in the rounding between the
  // passes, so it must be Pillow's order for the upright image.
  const auto shrinks_by = height - window.full_height;
  bool across_first = shrinks_by <= 0 || shrinks_by <= 2 * (width - window.full_width);
  const auto o = image.orientation;
  if (o == 2 || o == 3 || o == 6 || o == 7)
    mirror(columns);
  if (o == 3 || o == 4 || o == 7 || o == 8)
    mirror(rows);
  if (o >= 5) {
    std::swap(columns, rows);
    across_first = !across_first;
  }
  decoded_image result{pixel_grid{static_cast<uint32_t>(columns.spans.size()),
                                  static_cast<uint32_t>(rows.spans.size()), grey ? 1u : 3u},
                       o};
  const auto pass = across_first ? (grey ? horizontal_first<1> : horizontal_first<3>)
                                 : (grey ? vertical_first<1> : vertical_first<3>);
  pass(image.pixels, columns, rows, result.pixels);
  return o == 1 ? result.pixels : upright(result);
}

} // namespace ziyu::model
