#include "model/resampling/axis.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace ziyu::model {
namespace {

struct triangle {
  static constexpr double reach = 1;
  static double at(double x) {
    x = std::abs(x);
    return x < 1 ? 1 - x : 0;
  }
};

/// Keys' cubic with a = -0.5 (OpenCV's has -0.75).
struct cubic {
  static constexpr double reach = 2;
  static double at(double x) {
    constexpr double a = -0.5;
    x = std::abs(x);
    if (x < 1)
      return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2)
      return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
  }
};

/// Places the output samples of an axis among its input samples.
struct places {
  places(int in, int64_t out_size, double reach)
    : in_size(in), scale(static_cast<double>(in) / static_cast<double>(out_size)),
      stretch(std::max(scale, 1.0)), support(reach * stretch) {}

  double center(int64_t i) const { return (static_cast<double>(i) + 0.5) * scale; }

  sample_range around(double center) const {
    // NOLINTBEGIN(bugprone-incorrect-roundings): as Pillow rounds
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), in_size);
    // NOLINTEND(bugprone-incorrect-roundings)
    return {first, last};
  }

  int in_size;
  double scale, stretch, support;
};

template <class Filter>
axis axis_of(const places& at, int64_t offset, int count) {
  axis result;
  result.size = at.in_size;
  result.spans.reserve(static_cast<size_t>(count));
  size_t weights = 0;
  for (int i = 0; i < count; ++i) {
    const auto [first, last] = at.around(at.center(offset + i));
    result.spans.push_back({first, last - first, weights});
    weights += static_cast<size_t>(last - first);
  }
  result.weights.reserve(weights);
  const double inverse = 1.0 / at.stretch;
  // More would take memory that grows with the image: they are worked out twice.
  std::array<double, 256> kept;
  for (int i = 0; i < count; ++i) {
    const double center = at.center(offset + i);
    const auto& span = result.spans[static_cast<size_t>(i)];
    const auto function = [&](int k) {
      return Filter::at((span.first + k - center + 0.5) * inverse);
    };
    const auto few = span.count <= static_cast<int>(kept.size());
    double sum = 0;
    for (int k = 0; k < span.count; ++k) {
      const auto value = function(k);
      if (few)
        kept[static_cast<size_t>(k)] = value;
      sum += value;
    }
    for (int k = 0; k < span.count; ++k) {
      auto weight = few ? kept[static_cast<size_t>(k)] : function(k);
      if (sum != 0)
        weight /= sum;
      const double scaled = weight * (1 << axis::precision_bits);
      result.weights.push_back(static_cast<int32_t>(weight < 0 ? scaled - 0.5 : scaled + 0.5));
    }
  }
  return result;
}

double reach_of(preprocessing::interpolation filter) {
  return filter == preprocessing::interpolation::bicubic ? cubic::reach : triangle::reach;
}

} // namespace

axis make_axis(int in_size, int64_t out_size, int64_t offset, int count,
               preprocessing::interpolation filter) {
  const places at{in_size, out_size, reach_of(filter)};
  return filter == preprocessing::interpolation::bicubic ? axis_of<cubic>(at, offset, count)
                                                         : axis_of<triangle>(at, offset, count);
}

sample_range read_by_axis(int in_size, int64_t out_size, int64_t offset, int count,
                          preprocessing::interpolation filter) {
  const places at{in_size, out_size, reach_of(filter)};
  return {at.around(at.center(offset)).begin, at.around(at.center(offset + count - 1)).end};
}

void mirror(axis& x) {
  std::reverse(x.weights.begin(), x.weights.end());
  std::reverse(x.spans.begin(), x.spans.end());
  for (auto& span : x.spans) {
    span.first = x.size - span.first - span.count;
    span.weights = x.weights.size() - span.weights - static_cast<size_t>(span.count);
  }
}

void shift(axis& x, int by) {
  for (auto& span : x.spans)
    span.first -= by;
}

} // namespace ziyu::model
