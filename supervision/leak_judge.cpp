#include "supervision/leak_judge.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace ziyu::supervision {

namespace {

/// The quantile of the standard normal distribution (Abramowitz & Stegun 26.2.23,
/// absolute error below 4.5e-4). @pre 0.5 <= p < 1
double normal_quantile(double p) {
  const auto t = std::sqrt(-2 * std::log(1 - p));
  return t
         - (2.515517 + 0.802853 * t + 0.010328 * t * t)
             / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t * t * t);
}

double median(std::vector<double>& sorted) {
  const auto n = sorted.size();
  return n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

uint64_t jobs_until(double room, double per_job) {
  return per_job <= 0 || room <= 0 ? 0 : static_cast<uint64_t>(room / per_job);
}

} // namespace

std::string_view to_string(growth x) noexcept {
  switch (x) {
  case growth::warming_up: return "warming_up";
  case growth::healthy: return "healthy";
  case growth::suspected: return "suspected";
  case growth::leak: return "leak";
  case growth::hoarding: return "hoarding";
  }
  return "unknown";
}

leak_judge::slope theil_sen(const std::deque<double>& x, const std::deque<double>& y,
                            double confidence) {
  const auto n = x.size();
  std::vector<double> slopes;
  slopes.reserve(n * (n - 1) / 2);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j)
      slopes.push_back((y[j] - y[i]) / (x[j] - x[i]));
  std::sort(slopes.begin(), slopes.end());
  // Kendall's variance with ties in y (Sen 1968, eq. 2.6; Gilbert 1987, §16.5).
  std::vector<double> values{y.begin(), y.end()};
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(n);
  auto variance = count * (count - 1) * (2 * count + 5);
  for (size_t i = 0; i < n;) {
    auto j = i;
    while (j < n && values[j] == values[i])
      ++j;
    const auto t = static_cast<double>(j - i);
    variance -= t * (t - 1) * (2 * t + 5);
    i = j;
  }
  const auto half_width = normal_quantile(confidence) * std::sqrt(std::max(variance, 0.) / 18);
  const auto last = static_cast<double>(slopes.size()) - 1;
  const auto middle = static_cast<double>(slopes.size());
  const auto low = std::clamp(std::floor((middle - half_width) / 2), 0., last);
  const auto high = std::clamp(std::ceil((middle + half_width) / 2), 0., last);
  leak_judge::slope result;
  result.bytes_per_job = median(slopes);
  result.lower = slopes[static_cast<size_t>(low)];
  result.upper = slopes[static_cast<size_t>(high)];
  return result;
}

leak_judge::leak_judge(settings x) : settings_(x) {
  // nop
}

leak_judge::verdict leak_judge::observe(job_memory memory) {
  ++jobs_;
  last_ = {};
  last_.jobs = jobs_;
  if (jobs_ <= settings_.warmup_jobs)
    return last_;
  window_.push_back({jobs_, memory});
  if (window_.size() > settings_.window_jobs)
    window_.pop_front();
  const auto n = window_.size();
  if (n < settings_.min_jobs)
    return last_;
  std::deque<double> jobs, live, owned;
  for (const auto& x : window_) {
    jobs.push_back(static_cast<double>(x.job));
    live.push_back(static_cast<double>(x.memory.live));
    owned.push_back(static_cast<double>(x.memory.private_bytes));
  }
  last_.live = theil_sen(jobs, live, settings_.confidence);
  last_.private_memory = theil_sen(jobs, owned, settings_.confidence);
  // Finite growth (warm-up, a cache that fills) shows in the window's past only: a
  // leak must go on in its later half, too.
  const auto effect = static_cast<double>(settings_.min_effect_bytes);
  auto recent_slope = [&](const std::deque<double>& y) {
    const auto half = std::max<size_t>(n / 2, std::min<size_t>(n, settings_.min_jobs));
    const auto from = static_cast<std::ptrdiff_t>(n - half);
    return theil_sen({jobs.begin() + from, jobs.end()}, {y.begin() + from, y.end()},
                     settings_.confidence);
  };
  const auto live_recent = recent_slope(live);
  const auto live_grows = last_.live.lower > effect && live_recent.lower > effect;
  const auto live_leans = last_.live.bytes_per_job > effect && live_recent.bytes_per_job > effect;
  const auto owned_total = owned.back() - owned.front();
  const auto owned_grows = n >= 2 * size_t{settings_.min_jobs}
                           && last_.private_memory.lower > effect
                           && recent_slope(owned).lower > effect
                           && owned_total >= static_cast<double>(std::max(
                                settings_.hoarding_min_total_bytes, settings_.budget_bytes / 10));
  last_.kind = live_grows    ? growth::leak
               : live_leans  ? growth::suspected
               : owned_grows ? growth::hoarding
                             : growth::healthy;
  if (settings_.budget_bytes > 0
      && (last_.kind == growth::leak || last_.kind == growth::hoarding)) {
    // What grows in the books grows in the pages: the steeper of the two counts.
    const auto& by = last_.kind == growth::hoarding ? last_.private_memory : last_.live;
    const auto room = static_cast<double>(settings_.budget_bytes) - owned.back();
    last_.jobs_left = jobs_until(room,
                                 std::max(by.bytes_per_job, last_.private_memory.bytes_per_job));
    last_.jobs_left_earliest = jobs_until(room, std::max(by.upper, last_.private_memory.upper));
  }
  return last_;
}

} // namespace ziyu::supervision
