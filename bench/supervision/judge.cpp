// bench/judge: how often the leak judge is right, compared with the rules of other systems.

#include "judge_rules.hpp"
#include "judge_series.hpp"
#include "judge_traces.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

namespace ziyu::bench {

namespace {

using nlohmann::json;
using supervision::growth;
using supervision::leak_judge;

constexpr uint64_t budget = 256u << 20;
constexpr double kib = 1024, mib = 1024 * 1024;
constexpr double leak_sizes[] = {kib, 4 * kib, 64 * kib, mib, 6.7e6};
constexpr double hoard_sizes[] = {64 * kib, mib, 6.7e6};
constexpr size_t max_mistakes = 10'000; ///< Bound of the list.
constexpr uint64_t parts = 1u << 20;    ///< The seeds of parts are far apart.

struct options {
  uint64_t seed = 20261124;
  uint64_t seeds = 1; ///< Number of seeds from `seed` on.
  uint64_t scale = 1;
  bool healthy_only = false; ///< Without leaks, forecasts and other systems' rules.
  std::string recorded;
  bool series = false; ///< Also what the charts show.
};

/// Leaks that occur with some jobs only.
bool is_seldom(const std::string& kind) {
  return kind == "leak_one_in_k" || kind == "leak_bad_inputs" || kind == "leak_large_images";
}

/// The result of a rule, or of the judge, for one trace.
struct outcome {
  uint64_t alarm = 0;            ///< First job after the onset at which it was confirmed; 0: none.
  uint64_t claim = 0;            ///< First job called a leak, hoarding or both; 0: none.
  growth kind = growth::healthy; ///< The judge's worst verdict.
  std::string judgement;         ///< Its last judgement, or the one at the alarm.
};

/// Summary over traces of one rule.
struct score {
  uint64_t healthy = 0, false_replacements = 0;
  uint64_t growing = 0; ///< Healthy ones whose growth was confirmed before it ended.
  uint64_t leaks_1k = 0, found_1k = 0, leaks_64k = 0, found_64k = 0, hoards = 0, found_hoards = 0;
  std::vector<double> delay_1k, delay_64k, delay_1m;

  void add(const trace& t, const outcome& x) {
    if (t.beyond)
      return;
    if (t.what == truth::healthy) {
      ++healthy;
      false_replacements += x.claim > 0;
      growing += x.kind == growth::growing;
      return;
    }
    // Before its onset a trace is a healthy one.
    if (x.claim > 0 && x.claim < t.onset) {
      ++false_replacements;
      return;
    }
    const auto found = x.alarm > 0;
    const auto delay = static_cast<double>(x.alarm - t.onset + 1);
    if (t.what == truth::hoarding) {
      ++hoards;
      found_hoards += found;
      return;
    }
    ++leaks_1k;
    found_1k += found;
    if (t.bytes_per_job >= 64 * kib) {
      ++leaks_64k;
      found_64k += found;
    }
    // Delays are those of leaks with each job, since the delays are per job.
    if (!found || is_seldom(t.kind))
      return;
    if (t.bytes_per_job == kib)
      delay_1k.push_back(delay);
    if (t.bytes_per_job == 64 * kib)
      delay_64k.push_back(delay);
    if (t.bytes_per_job == mib)
      delay_1m.push_back(delay);
  }

  static json quantile(std::vector<double> x, double q) {
    if (x.empty())
      return nullptr;
    std::sort(x.begin(), x.end());
    return x[std::min(x.size() - 1, static_cast<size_t>(q * static_cast<double>(x.size())))];
  }
  static double ratio(uint64_t a, uint64_t b) {
    return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
  }

  json to_json() const {
    return {{"false_replacements", false_replacements},
            {"healthy_called_growing", growing},
            {"recall_1kib", ratio(found_1k, leaks_1k)},
            {"recall_64kib", ratio(found_64k, leaks_64k)},
            {"recall_hoarding", ratio(found_hoards, hoards)},
            {"delay_1kib_p50", quantile(delay_1k, 0.5)},
            {"delay_1kib_p90", quantile(delay_1k, 0.9)},
            {"delay_64kib_p50", quantile(delay_64k, 0.5)},
            {"delay_1mib_p50", quantile(delay_1m, 0.5)},
            {"delay_1mib_p90", quantile(delay_1m, 0.9)}};
  }
};

leak_judge::settings judge_settings(bool foretell) {
  leak_judge::settings s;
  s.budget_bytes = budget;
  s.workers = 2;
  s.foretell = foretell;
  return s;
}

struct totals {
  bool foretell = true; ///< Check the judge's forecasts, too.
  json mistakes = json::array();
  uint64_t seed = 0; ///< Seed of the present traces.
  score judge;
  std::map<std::string, score> peers;
  std::map<std::string, std::map<std::string, uint64_t>> confusion;
  std::map<std::string, std::pair<uint64_t, uint64_t>> by_kind;        ///< right, all
  std::map<std::string, std::map<double, std::vector<double>>> delays; ///< Of the judge.
  uint64_t traces = 0, jobs = 0, beyond = 0, beyond_alarms = 0;
  uint64_t forecasts = 0, covered = 0, early_enough = 0;
  double seconds = 0, healthy_seconds = 0;
  uint64_t healthy_jobs = 0;
};

outcome judge_trace(const trace& t, totals& all) {
  leak_judge judge{judge_settings(all.foretell)};
  outcome x;
  auto worst = growth::healthy;
  std::optional<std::pair<uint64_t, leak_judge::verdict>> foretold;
  const auto start = std::chrono::steady_clock::now();
  uint64_t job = 0;
  for (const auto& r : t.jobs) {
    const auto verdict = judge.observe(r.memory);
    ++job;
    if (verdict.kind > growth::warming_up)
      worst = std::max(worst, verdict.kind);
    if (x.alarm == 0 && is_confirmed(verdict.kind) && t.onset > 0 && job >= t.onset) {
      x.alarm = job;
      x.judgement = explain(verdict);
    }
    if (x.claim == 0 && verdict.kind >= growth::leak) {
      x.claim = job;
      if (t.onset == 0 || job < t.onset) {
        x.judgement = explain(verdict);
        break;
      }
    }
    // Forecasts are checked some time after the alarm, when there is a slope.
    if (!foretold && x.alarm > 0 && job >= x.alarm + 16 && verdict.jobs_left)
      foretold = {job, verdict};
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  all.seconds += took.count();
  if (t.what == truth::healthy) {
    all.healthy_seconds += took.count();
    all.healthy_jobs += job;
  }
  all.jobs += job;
  x.kind = worst;
  if (x.judgement.empty())
    x.judgement = explain(judge.last());
  // A trace that ended at the budget shows how good the forecast was.
  if (foretold && t.jobs.back().memory.private_bytes + 3 * t.bytes_per_job + 64 * mib >= budget
      && t.jobs.size() < t.onset + 1499) {
    uint64_t actual = 0;
    for (auto i = foretold->first; i < t.jobs.size(); ++i)
      actual += 1 + t.jobs[i].memory.others.size();
    ++all.forecasts;
    all.early_enough += actual >= *foretold->second.jobs_left_earliest;
    all.covered += actual >= *foretold->second.jobs_left_earliest
                   && actual <= *foretold->second.jobs_left_latest;
  }
  return x;
}

void evaluate(const trace& t, const std::vector<named_rule>& others, totals& all) {
  if (t.jobs.size() < std::max<uint64_t>(t.onset, 1))
    return;
  ++all.traces;
  const auto x = judge_trace(t, all);
  all.judge.add(t, x);
  if (t.beyond) {
    ++all.beyond;
    all.beyond_alarms += x.claim > 0;
  }
  ++all.confusion[t.kind][std::string{to_string(x.kind)}];
  auto& [right, count] = all.by_kind[t.kind];
  const auto is_right = t.what == truth::healthy
                          ? x.claim == 0
                          : x.alarm > 0 && (x.claim == 0 || x.claim >= t.onset);
  ++count;
  right += is_right;
  if (!is_right && !t.beyond && all.mistakes.size() < max_mistakes) {
    all.mistakes.push_back({{"kind", t.kind},
                            {"number", all.traces},
                            {"bytes_per_job", t.bytes_per_job},
                            {"onset", t.onset},
                            {"jobs", t.jobs.size()},
                            {"seed", all.seed},
                            {"alarm", x.alarm},
                            {"claim", x.claim},
                            {"verdict", to_string(x.kind)},
                            {"judgement", x.judgement}});
    if (t.what == truth::healthy) // seldom, and the run may be long
      std::fprintf(stderr, "%s\n", all.mistakes.back().dump().c_str());
  }
  if (x.alarm > 0)
    all.delays[t.kind][t.bytes_per_job].push_back(static_cast<double>(x.alarm - t.onset + 1));
  for (const auto& other : others) {
    const auto rule = other.make(t);
    outcome y;
    uint64_t job = 0;
    for (const auto& r : t.jobs) {
      ++job;
      if (rule->observe(r)) {
        y.alarm = y.claim = job;
        break;
      }
    }
    all.peers[other.name].add(t, y);
  }
}

/// Recorded traces: `kind,truth,onset,bytes_per_job` in a comment line, then columns.
std::optional<trace> read_recorded(const std::filesystem::path& file) {
  std::ifstream in{file};
  trace t;
  std::string line;
  uint64_t peak = 0;
  while (std::getline(in, line)) {
    std::istringstream text{line};
    if (line.rfind("# ", 0) == 0) {
      std::string what;
      text.ignore(2);
      text >> t.kind >> what >> t.onset >> t.bytes_per_job;
      t.what = what == "leak" ? truth::leak : what == "hoarding" ? truth::hoarding : truth::healthy;
      continue;
    }
    if (line.empty() || line.front() < '0' || line.front() > '9')
      continue;
    std::replace(line.begin(), line.end(), ',', ' ');
    std::istringstream row{line};
    reading r;
    if (!(row >> r.memory.live >> r.memory.private_bytes >> r.memory.encoded_bytes
          >> r.memory.decoded_bytes >> r.memory.ok))
      return std::nullopt;
    // The inputs of a batch are recorded as their sum.
    if (size_t batch = 1; row >> batch && batch > 1) {
      r.memory.encoded_bytes /= batch;
      r.memory.decoded_bytes /= batch;
      r.memory.others.assign(batch - 1, r.memory);
    }
    r.rss = r.memory.private_bytes;
    peak = std::max(peak, r.rss);
    r.peak_rss = peak;
    t.jobs.push_back(r);
  }
  return t.jobs.empty() ? std::nullopt : std::optional{t};
}

void print(const totals& all) {
  std::vector<std::string> columns{"healthy", "caching",  "suspected", "growing",
                                   "leak",    "hoarding", "mixed"};
  std::fprintf(stderr, "%-20s %7s", "what it is", "traces");
  for (const auto& c : columns)
    std::fprintf(stderr, " %9s", c.c_str());
  std::fprintf(stderr, "    right  median delay at each size\n");
  auto rows = healthy_kinds();
  for (auto list : {growing_kinds(), beyond_kinds()})
    rows.insert(rows.end(), list.begin(), list.end());
  for (const auto& [kind, row] : all.confusion)
    if (std::find(rows.begin(), rows.end(), kind) == rows.end())
      rows.push_back(kind);
  for (const auto& kind : rows) {
    if (!all.by_kind.contains(kind))
      continue;
    const auto& [right, count] = all.by_kind.at(kind);
    std::fprintf(stderr, "%-20s %7llu", kind.c_str(), static_cast<unsigned long long>(count));
    const auto& row = all.confusion.at(kind);
    for (const auto& c : columns) {
      const auto i = row.find(c);
      std::fprintf(stderr, " %9llu",
                   static_cast<unsigned long long>(i == row.end() ? 0 : i->second));
    }
    std::fprintf(stderr, "  %6.2f%%", 100. * score::ratio(right, count));
    if (const auto i = all.delays.find(kind); i != all.delays.end())
      for (const auto& [size, list] : i->second)
        std::fprintf(stderr, " %6d", score::quantile(list, 0.5).get<int>());
    std::fprintf(stderr, "\n");
  }
  std::fprintf(stderr, "\n%-18s %7s %10s %11s %9s %9s %9s\n", "rule", "false", "recall 1K+",
               "recall 64K+", "delay 1K", "delay 64K", "delay 1M");
  auto show = [](const std::string& name, const score& s) {
    const auto x = s.to_json();
    const auto number = [&](const char* key) {
      return x[key].is_null() ? std::string{"-"} : std::to_string(x[key].get<int>());
    };
    std::fprintf(stderr, "%-18s %7llu %9.2f%% %10.2f%% %9s %9s %9s\n", name.c_str(),
                 static_cast<unsigned long long>(s.false_replacements),
                 100 * x["recall_1kib"].get<double>(), 100 * x["recall_64kib"].get<double>(),
                 number("delay_1kib_p50").c_str(), number("delay_64kib_p50").c_str(),
                 number("delay_1mib_p50").c_str());
  };
  show("ziyu", all.judge);
  for (const auto& [name, s] : all.peers)
    show(name, s);
}

void evaluate_seed(const options& o, const std::vector<named_rule>& others, totals& all) {
  uint64_t number = 0;
  auto add = [&](const std::string& kind, double bytes_per_job, uint64_t count) {
    for (uint64_t i = 0; i < count * o.scale; ++i)
      evaluate(generate(kind, bytes_per_job, budget, all.seed * parts + ++number), others, all);
  };
  for (const auto& kind : healthy_kinds())
    add(kind, 0, 100);
  if (o.healthy_only)
    return;
  for (const auto& kind : beyond_kinds())
    add(kind, 0, 50);
  for (const auto& kind : growing_kinds())
    if (kind == "hoarding")
      for (const auto size : hoard_sizes)
        add(kind, size, 30);
    else
      for (const auto size : leak_sizes)
        add(kind, size, 20);
}

/// The share of false replacements that is not exceeded with a confidence of 95 %: with none
/// seen in n traces about 3/n (the rule of three), with some the exact bound of Poisson.
double upper_bound(uint64_t seen, uint64_t traces) {
  if (traces == 0)
    return 1;
  const auto at_most = [seen](double mean) {
    double term = std::exp(-mean), sum = term;
    for (uint64_t k = 1; k <= seen; ++k)
      sum += term *= mean / static_cast<double>(k);
    return sum;
  };
  double low = 0, high = static_cast<double>(seen) + 10 * std::sqrt(static_cast<double>(seen)) + 10;
  for (int i = 0; i < 60; ++i) {
    const auto middle = (low + high) / 2;
    (at_most(middle) > 0.05 ? low : high) = middle;
  }
  return std::min(1., high / static_cast<double>(traces));
}

int run(const options& o) {
  const auto others = o.healthy_only ? std::vector<named_rule>{} : peers(budget);
  totals all;
  all.foretell = !o.healthy_only;
  for (all.seed = o.seed; all.seed < o.seed + o.seeds; ++all.seed)
    evaluate_seed(o, others, all);
  uint64_t recorded = 0;
  if (!o.recorded.empty()) {
    std::vector<std::filesystem::path> files;
    for (const auto& x : std::filesystem::directory_iterator{o.recorded})
      if (x.path().extension() == ".csv")
        files.push_back(x.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
      auto t = read_recorded(file);
      if (!t) {
        std::fprintf(stderr, "bench_judge: cannot read %s\n", file.c_str());
        return 1;
      }
      t->kind = "recorded:" + t->kind;
      evaluate(*t, others, all);
      ++recorded;
    }
  }
  print(all);
  json result = all.judge.to_json();
  result["traces"] = all.traces;
  result["recorded"] = recorded;
  result["healthy"] = all.judge.healthy;
  result["seed"] = o.seed;
  result["seeds"] = o.seeds;
  result["false_share_at_most"] = upper_bound(all.judge.false_replacements, all.judge.healthy);
  result["confusion"] = all.confusion;
  result["mistakes"] = all.mistakes;
  result["beyond"] = {{"traces", all.beyond}, {"false_replacements", all.beyond_alarms}};
  result["forecast"] = {{"checked", all.forecasts},
                        {"inside_interval", score::ratio(all.covered, all.forecasts)},
                        {"not_before_earliest", score::ratio(all.early_enough, all.forecasts)}};
  const auto micros = [](double seconds, uint64_t jobs) {
    return seconds * 1e6 / static_cast<double>(std::max<uint64_t>(jobs, 1));
  };
  result["us_per_job"] = {
    {"healthy", micros(all.healthy_seconds, all.healthy_jobs)},
    {"growing", micros(all.seconds - all.healthy_seconds, all.jobs - all.healthy_jobs)}};
  for (const auto& other : others) {
    result["peers"][other.name] = all.peers[other.name].to_json();
    result["peers"][other.name]["rule"] = other.what;
  }
  if (o.series)
    result["series"] = chart_series(o.seed, budget, judge_settings(true));
  std::printf("%s\n", result.dump(2).c_str());
  return 0;
}

} // namespace

} // namespace ziyu::bench

int main(int argc, char** argv) {
  ziyu::bench::options o;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i];
    if (key == "--seed")
      o.seed = std::strtoull(argv[i + 1], nullptr, 10);
    else if (key == "--seeds")
      o.seeds = std::strtoull(argv[i + 1], nullptr, 10);
    else if (key == "--only")
      o.healthy_only = std::string{"healthy"} == argv[i + 1];
    else if (key == "--scale")
      o.scale = std::strtoull(argv[i + 1], nullptr, 10);
    else if (key == "--recorded")
      o.recorded = argv[i + 1];
    else if (key == "--series")
      o.series = std::string{"yes"} == argv[i + 1];
  }
  if (argc % 2 == 0) {
    std::fprintf(stderr, "usage: bench_judge [--seed N] [--seeds N] [--scale N] [--only healthy] "
                         "[--recorded FOLDER] [--series yes]\n");
    return 2;
  }
  return ziyu::bench::run(o);
}
