#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ziyu::supervision {

/// Growth of memory per job, bytes.
struct slope {
  double bytes_per_job = 0;    ///< Most likely.
  double lower = 0, upper = 0; ///< Confidence bounds, each one-sided.
};

/// The quantile of the standard normal distribution, absolute error below 4.5e-4.
/// @pre 0.5 <= p < 1
double normal_quantile(double p);

/// The Theil–Sen slope of (x, y): the median of the slopes of all pairs, with
/// bounds from Kendall's variance (corrected for ties), each one-sided at
/// `confidence`. Up to 29 % of the points may be arbitrary. Takes O(n²); `scratch`
/// is reused memory. @pre same sizes, at least 2 points, x strictly increasing.
slope theil_sen(std::span<const double> x, std::span<const double> y, double confidence,
                std::vector<double>& scratch);

/// Mann–Kendall's statistic as a standard normal deviate (corrected for ties and
/// continuity): positive when `y` tends to rise. @pre at least 3 points
double mann_kendall(std::span<const double> y);

/// Wilson's score bounds of a share, each one-sided at the normal quantile `z`.
struct share {
  double likely = 0, lower = 0, upper = 0;
};
share wilson(uint64_t hits, uint64_t trials, double z);

/// The median; reorders `x`. @pre not empty
double median(std::vector<double>& x);

/// The median absolute deviation from the median, times 1.4826 (so that it
/// estimates a normal standard deviation); reorders `x`. @pre not empty
double scaled_mad(std::vector<double>& x);

/// Mean and variance of a stream (Welford). Value type.
class running_moments {
public:
  void add(double x);
  uint64_t count() const { return count_; }
  double mean() const { return mean_; }
  double variance() const; ///< Unbiased; 0 for fewer than two values.

private:
  uint64_t count_ = 0;
  double mean_ = 0, squares_ = 0;
};

/// Two-sided CUSUM (Page 1954) about a reference that it learns from its first `learn` values
/// (median and MAD). It detects that the level has shifted by about `drift` or more standard
/// deviations for some time. Pure.
class cusum {
public:
  /// `drift` and `limit` are in standard deviations. `least_deviation` is the least deviation
  /// assumed, for a reference that did not vary.
  cusum(size_t learn, double drift, double limit, double least_deviation);

  /// Takes one more value. True when a shift is found; the reference is then learned anew.
  bool observe(double x);

private:
  size_t learn_;
  double drift_, limit_, least_deviation_;
  std::vector<double> learnt_;
  double centre_ = 0, deviation_ = 0, up_ = 0, down_ = 0;
};

} // namespace ziyu::supervision
