#pragma once

#include <opencv2/core.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace ziyu::model {

/// 8-bit samples, row by row without gaps, the channels of a pixel side by side: RGB, not
/// OpenCV's BGR. Copies share the samples (`cv::Mat` counts its references).
class pixel_grid {
public:
  pixel_grid() = default;

  /// Samples that are not initialised. Throws `std::bad_alloc`.
  pixel_grid(uint32_t width, uint32_t height, uint32_t channels);

  /// @param samples 8 bits each, without gaps between its rows.
  explicit pixel_grid(cv::Mat samples) : samples_(std::move(samples)) {}

  uint32_t width() const { return static_cast<uint32_t>(samples_.cols); }
  uint32_t height() const { return static_cast<uint32_t>(samples_.rows); }
  uint32_t channels() const { return static_cast<uint32_t>(samples_.channels()); }
  bool empty() const { return samples_.empty(); }

  /// Bytes.
  size_t row_size() const { return size_t{width()} * channels(); }
  size_t size() const { return row_size() * height(); }

  uint8_t* row(uint32_t y) { return samples_.ptr(static_cast<int>(y)); }
  const uint8_t* row(uint32_t y) const { return samples_.ptr(static_cast<int>(y)); }
  uint8_t* data() { return samples_.data; }
  const uint8_t* data() const { return samples_.data; }

  const cv::Mat& mat() const { return samples_; }

private:
  cv::Mat samples_;
};

} // namespace ziyu::model
