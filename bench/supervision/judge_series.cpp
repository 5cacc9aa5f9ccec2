#include "judge_series.hpp"

#include "judge_rules.hpp"
#include "judge_traces.hpp"

#include <algorithm>

namespace ziyu::bench {

namespace {

using nlohmann::json;
using supervision::leak_judge;

constexpr double kib = 1024, mib = 1024 * 1024;
constexpr uint64_t parts = 1u << 20; ///< Seeds are far apart.

/// The first job with a confirmed verdict, and the verdict; 0: none.
std::pair<uint64_t, supervision::growth> judged(const trace& t,
                                                const leak_judge::settings& settings) {
  leak_judge judge{settings};
  for (size_t i = 0; i < t.jobs.size(); ++i)
    if (const auto x = judge.observe(t.jobs[i].memory); is_confirmed(x.kind))
      return {i + 1, x.kind};
  return {0, supervision::growth::healthy};
}

/// The first job at which a rule would replace the worker; 0: none.
uint64_t alarm_of(const named_rule& x, const trace& t) {
  const auto rule = x.make(t);
  for (size_t i = 0; i < t.jobs.size(); ++i)
    if (rule->observe(t.jobs[i]))
      return i + 1;
  return 0;
}

json kinds(uint64_t seed, uint64_t budget, const leak_judge::settings& settings) {
  auto names = healthy_kinds();
  for (auto list : {growing_kinds(), beyond_kinds()})
    names.insert(names.end(), list.begin(), list.end());
  auto result = json::array();
  uint64_t number = 0;
  for (const auto& name : names) {
    const auto hoards = name == "hoarding";
    const auto t = generate(name, hoards ? mib : 64 * kib, budget, seed * parts + ++number);
    const auto [alarm, verdict] = judged(t, settings);
    // Ends some time after the interesting part.
    const auto shown = std::min<uint64_t>(t.jobs.size(), alarm > 0 ? alarm + alarm / 4 + 20 : 800);
    auto bytes = json::array();
    for (uint64_t i = 0; i < shown; ++i)
      bytes.push_back(hoards ? t.jobs[i].memory.private_bytes : t.jobs[i].memory.live);
    result.push_back({{"kind", name},
                      {"jobs", t.jobs.size()},
                      {"onset", t.onset},
                      {"verdict_at", alarm},
                      {"verdict", to_string(verdict)},
                      {"bytes", std::move(bytes)}});
  }
  return result;
}

json delays(uint64_t seed, uint64_t budget, const leak_judge::settings& settings) {
  constexpr double sizes[] = {kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib};
  const auto others = peers(budget);
  auto rules = json::array({{{"rule", "ziyu"}, {"medians", json::array()}}});
  for (const auto& x : others)
    rules.push_back({{"rule", x.name}, {"medians", json::array()}});
  uint64_t number = 0;
  for (const auto size : sizes) {
    std::vector<std::vector<double>> found(rules.size());
    size_t traces = 0;
    for (const char* kind : {"leak_steady", "leak_varying_sizes", "leak_with_spikes"})
      for (int i = 0; i < 15; ++i, ++traces) {
        const auto t = generate(kind, size, budget, (seed + 1) * parts + ++number);
        for (size_t r = 0; r < found.size(); ++r) {
          const auto alarm = r == 0 ? judged(t, settings).first : alarm_of(others[r - 1], t);
          if (alarm >= t.onset)
            found[r].push_back(static_cast<double>(alarm - t.onset + 1));
        }
      }
    for (size_t r = 0; r < found.size(); ++r) {
      auto& list = found[r];
      std::sort(list.begin(), list.end());
      rules[r]["medians"].push_back(list.size() * 2 > traces ? json(list[list.size() / 2])
                                                             : json());
    }
  }
  return {{"bytes_per_job", sizes}, {"rules", std::move(rules)}};
}

} // namespace

json chart_series(uint64_t seed, uint64_t budget, const leak_judge::settings& settings) {
  return {{"kinds", kinds(seed, budget, settings)}, {"delays", delays(seed, budget, settings)}};
}

} // namespace ziyu::bench
