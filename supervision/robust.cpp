#include "supervision/robust.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::supervision {

namespace {

/// Kendall's variance of S with ties in y (Sen 1968, eq. 2.6; Gilbert 1987, §16.4).
double kendall_variance(std::span<const double> y) {
  const auto n = static_cast<double>(y.size());
  auto variance = n * (n - 1) * (2 * n + 5);
  std::vector<double> values{y.begin(), y.end()};
  std::sort(values.begin(), values.end());
  for (size_t i = 0; i < values.size();) {
    auto j = i;
    while (j < values.size() && values[j] == values[i])
      ++j;
    const auto t = static_cast<double>(j - i);
    variance -= t * (t - 1) * (2 * t + 5);
    i = j;
  }
  return std::max(variance, 0.) / 18;
}

} // namespace

double normal_quantile(double p) {
  // Abramowitz & Stegun 26.2.23.
  const auto t = std::sqrt(-2 * std::log(1 - p));
  return t
         - (2.515517 + 0.802853 * t + 0.010328 * t * t)
             / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t * t * t);
}

slope theil_sen(std::span<const double> x, std::span<const double> y, double confidence,
                std::vector<double>& scratch) {
  const auto n = x.size();
  auto& slopes = scratch;
  slopes.clear();
  slopes.reserve(n * (n - 1) / 2);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j)
      slopes.push_back((y[j] - y[i]) / (x[j] - x[i]));
  const auto count = slopes.size();
  const auto half_width = normal_quantile(confidence) * std::sqrt(kendall_variance(y));
  const auto last = static_cast<double>(count - 1);
  const auto low = static_cast<size_t>(
    std::clamp(std::floor((static_cast<double>(count) - half_width) / 2), 0., last));
  const auto high = static_cast<size_t>(
    std::clamp(std::ceil((static_cast<double>(count) + half_width) / 2), 0., last));
  // Selection instead of sorting: takes order statistics from left to right, each from what the
  // previous one has left to its right.
  auto pick = [&](size_t from, size_t index) {
    std::nth_element(slopes.begin() + static_cast<std::ptrdiff_t>(from),
                     slopes.begin() + static_cast<std::ptrdiff_t>(index), slopes.end());
    return slopes[index];
  };
  const auto middle = count / 2;
  slope result;
  result.bytes_per_job = pick(0, middle);
  const auto left = slopes.begin() + static_cast<std::ptrdiff_t>(middle);
  if (count % 2 == 0)
    result.bytes_per_job = (result.bytes_per_job + *std::max_element(slopes.begin(), left)) / 2;
  result.upper = high > middle ? pick(middle + 1, high) : slopes[middle];
  if (low < middle)
    std::nth_element(slopes.begin(), slopes.begin() + static_cast<std::ptrdiff_t>(low), left);
  result.lower = slopes[low];
  return result;
}

double mann_kendall(std::span<const double> y) {
  double s = 0;
  for (size_t i = 0; i < y.size(); ++i)
    for (size_t j = i + 1; j < y.size(); ++j)
      s += static_cast<double>(y[j] > y[i]) - static_cast<double>(y[j] < y[i]);
  const auto variance = kendall_variance(y);
  if (variance <= 0 || s == 0)
    return 0;
  return (s > 0 ? s - 1 : s + 1) / std::sqrt(variance);
}

share wilson(uint64_t hits, uint64_t trials, double z) {
  if (trials == 0)
    return {0, 0, 1};
  const auto n = static_cast<double>(trials);
  const auto p = static_cast<double>(hits) / n;
  const auto centre = p + z * z / (2 * n);
  const auto half = z * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  const auto scale = 1 + z * z / n;
  return {p, std::max(0., (centre - half) / scale), std::min(1., (centre + half) / scale)};
}

double median(std::vector<double>& x) {
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  if (x.size() % 2 == 1)
    return *middle;
  return (*middle + *std::max_element(x.begin(), middle)) / 2;
}

double scaled_mad(std::vector<double>& x) {
  const auto centre = median(x);
  for (auto& v : x)
    v = std::abs(v - centre);
  return 1.4826 * median(x);
}

void running_moments::add(double x) {
  ++count_;
  const auto off = x - mean_;
  mean_ += off / static_cast<double>(count_);
  squares_ += off * (x - mean_);
}

double running_moments::variance() const {
  return count_ < 2 ? 0 : squares_ / static_cast<double>(count_ - 1);
}

cusum::cusum(size_t learn, double drift, double limit, double least_deviation)
  : learn_(learn), drift_(drift), limit_(limit), least_deviation_(least_deviation) {
  learnt_.reserve(learn_);
}

bool cusum::observe(double x) {
  if (learnt_.size() < learn_) {
    learnt_.push_back(x);
    if (learnt_.size() == learn_) {
      auto copy = learnt_;
      centre_ = median(copy);
      deviation_ = std::max(scaled_mad(copy), least_deviation_);
    }
    return false;
  }
  // One wild value counts no more than a few deviations.
  const auto z = std::clamp((x - centre_) / deviation_, -4., 4.);
  up_ = std::max(0., up_ + z - drift_);
  down_ = std::max(0., down_ - z - drift_);
  if (up_ < limit_ && down_ < limit_)
    return false;
  learnt_.clear();
  up_ = down_ = 0;
  return true;
}

} // namespace ziyu::supervision
