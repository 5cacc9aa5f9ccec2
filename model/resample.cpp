#include "model/resample.hpp"

#include <opencv2/core.hpp>

#include <algorithm>
#include <cmath>
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
  result.spans.reserve(static_cast<size_t>(count));
  std::vector<double> exact;
  for (int i = 0; i < count; ++i) {
    const double center = (static_cast<double>(offset + i) + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), in_size);
    exact.clear();
    double sum = 0;
    for (int x = first; x < last; ++x) {
      exact.push_back(function((x - center + 0.5) * inverse));
      sum += exact.back();
    }
    result.spans.push_back({first, last - first, result.weights.size()});
    for (auto weight : exact) {
      if (sum != 0)
        weight /= sum;
      const double scaled = weight * (1 << precision_bits);
      result.weights.push_back(static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return result;
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

template <int channels>
void horizontal_first(const cv::Mat& image, const axis& columns, const axis& rows,
                      cv::Mat& result) {
  const auto row_size = columns.spans.size() * channels;
  std::vector<uint8_t> row(row_size);
  std::vector<int32_t> sums(row_size * rows.spans.size(), half);
  // Each input row is resampled once and added to the output rows it is part of.
  // Whole sums, so the order of the additions does not matter.
  size_t first_open = 0;
  for (int y = rows.begin(); y < rows.end(); ++y) {
    resample_row<channels>(image.ptr(y), row.data(), columns);
    while (rows.spans[first_open].first + rows.spans[first_open].count <= y)
      ++first_open;
    for (auto out = first_open; out < rows.spans.size() && rows.spans[out].first <= y; ++out) {
      const auto& span = rows.spans[out];
      add_row(row.data(), rows.weights[span.weights + static_cast<size_t>(y - span.first)],
              sums.data() + out * row_size, row_size);
    }
  }
  for (int y = 0; y < result.rows; ++y) {
    const auto* sum = sums.data() + static_cast<size_t>(y) * row_size;
    std::transform(sum, sum + row_size, result.ptr(y), to_pixel);
  }
}

template <int channels>
void vertical_first(const cv::Mat& image, const axis& columns, const axis& rows, cv::Mat& result) {
  const auto row_size = static_cast<size_t>(image.cols) * channels;
  std::vector<uint8_t> row(row_size);
  std::vector<int32_t> sums(row_size);
  for (int y = 0; y < result.rows; ++y) {
    const auto& span = rows.spans[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), half);
    for (int i = 0; i < span.count; ++i)
      add_row(image.ptr(span.first + i), rows.weights[span.weights + static_cast<size_t>(i)],
              sums.data(), row_size);
    std::transform(sums.begin(), sums.end(), row.begin(), to_pixel);
    resample_row<channels>(row.data(), result.ptr(y), columns);
  }
}

template <int channels>
void resample_image(const cv::Mat& image, const resample_window& window, const axis& columns,
                    const axis& rows, cv::Mat& result) {
  // Since Pillow 13 the larger reduction comes first. The order shows in the
  // rounding between the passes, so it must be Pillow's.
  const auto shrinks_by = image.rows - window.full_height;
  if (shrinks_by > 0 && shrinks_by > 2 * (image.cols - window.full_width))
    vertical_first<channels>(image, columns, rows, result);
  else
    horizontal_first<channels>(image, columns, rows, result);
}

} // namespace

cv::Mat resample(const cv::Mat& image, const resample_window& window,
                 preprocessing::interpolation filter) {
  CV_Assert((image.type() == CV_8UC1 || image.type() == CV_8UC3) && !image.empty());
  CV_Assert(window.width > 0 && window.height > 0 && window.left >= 0 && window.top >= 0);
  CV_Assert(window.left + window.width <= window.full_width);
  CV_Assert(window.top + window.height <= window.full_height);
  const auto columns = make_axis(image.cols, window.full_width, window.left, window.width, filter);
  const auto rows = make_axis(image.rows, window.full_height, window.top, window.height, filter);
  cv::Mat result(window.height, window.width, image.type());
  if (image.channels() == 3)
    resample_image<3>(image, window, columns, rows, result);
  else
    resample_image<1>(image, window, columns, rows, result);
  return result;
}

} // namespace ziyu::model
