// How soon is a leak found, is it named correctly, and what does healing cost?
//
// Actors and worker processes are real; only Kafka is replaced, by jobs from memory. Three
// services run side by side: one without the fault, one with the fault but without healing,
// and one with healing. They take turns in short blocks of jobs, so that other load on the
// machine affects all three.

#include "naming.hpp"
#include "pool.hpp"

#include "base/bytes.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace {

using namespace ziyu;
using namespace ziyu::bench;
using namespace std::chrono_literals;
using nlohmann::json;

struct fault_kind {
  const char *name, *cause;
  bool sized;
  uint64_t max_jobs; ///< Bound for one process, which can bear only so many threads or arenas.
};

constexpr fault_kind known_faults[] = {
  {"retain_tensors", "retained_tensors", true, UINT64_MAX},
  {"retain_images", "retained_images", true, UINT64_MAX},
  {"reload_model", "model_reloaded", false, UINT64_MAX},
  {"native_malloc", "native_allocation", true, UINT64_MAX},
  {"thread_local", "thread_local", true, 400},
  {"fragment", "hoarding", true, 1'000},
  {"slow_leak", "native_allocation", true, UINT64_MAX},
  {"gpu_cache", "gpu_cache", true, 200}, // only with a GPU
};

/// One job in so many leaks with slow_leak, and where faults take turns.
constexpr uint64_t slow_every = 4;

/// Bound for the memory of a leak without healing.
constexpr uint64_t most_leaked = uint64_t{4} << 30;

/// Jobs in flight.
constexpr uint64_t in_flight = 4;

/// A block in which the leak-free service took so many times its median shows a disturbance of the
/// machine, not of the leak.
constexpr double disturbed = 2;

struct options {
  std::vector<std::string> faults;
  std::vector<std::string> bytes{"1KiB", "64KiB", "6700kB"};
  uint64_t jobs = 2'000, block = 50, mixed_jobs = 8'400;
  std::string budget = "256MiB"; ///< The default of memory.worker_budget_bytes.
  uint32_t repetitions = 1;
  bool no_explain = false;
  std::string image = ZIYU_SOURCE_DIR "/tests/data/digits/0_024.png";
};

/// What the events say of a leak.
class news {
public:
  void take(const events::event& event) {
    std::lock_guard guard{mutex_};
    std::visit([this](const auto& x) { note(x); }, event.body);
    changed_.notify_all();
  }

  /// Waits until a detected leak has its cause.
  void await_cause() {
    std::unique_lock guard{mutex_};
    changed_.wait_for(guard, 35s, [this] { return !detected || !cause.empty(); });
  }

  /// Passes on the replacements since the last call.
  void tell(naming& names) {
    std::lock_guard guard{mutex_};
    for (const auto& x : replaced_)
      names.replaced(x);
    replaced_.clear();
  }

  std::optional<uint64_t> detected;
  bool reported = false;
  std::string cause;
  double top_site_share = 0;
  uint64_t replacements = 0, trims = 0, recovered = 0;

private:
  void note(const events::growth_confirmed& x) { detect(x.worker); }
  void note(const events::leak_confirmed& x) { detect(x.worker); }

  void detect(const events::evidence& worker) {
    if (!detected)
      detected = worker.jobs;
    // A verdict of hoarding is final; there are no call stacks to explain.
    if (cause.empty() && worker.verdict == "hoarding")
      cause = "hoarding";
  }

  void note(const events::leak_report& x) {
    if (std::exchange(reported, true))
      return;
    cause = x.cause;
    if (!x.sites.empty())
      top_site_share = x.sites.front().share;
  }

  void note(const events::worker_replaced& x) {
    ++replacements;
    recovered += x.bytes_recovered;
    replaced_.push_back(x);
    if (!reported && (cause.empty() || cause == "unknown"))
      cause = x.cause;
  }

  void note(const events::worker_trimmed& x) {
    ++trims;
    recovered += x.bytes_recovered;
  }

  template <class Other>
  void note(const Other&) {}

  std::vector<events::worker_replaced> replaced_;
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// One of the services that take turns.
class contestant {
public:
  contestant(const pool_settings& settings, std::shared_ptr<const std::string> picture,
             news* heard = nullptr)
    : picture_(std::move(picture)), workers_(settings, [heard](const events::event& x) {
        if (heard != nullptr)
          heard->take(x);
      }) {}

  /// Runs some jobs from start to end and returns the seconds that they took.
  /// @param with Called with each outcome.
  template <class With>
  double run(uint64_t jobs, With with) {
    const auto begin = clock::now();
    uint64_t submitted = 0;
    for (; submitted < std::min(in_flight, jobs); ++submitted)
      workers_.submit(picture_);
    auto end = begin;
    for (uint64_t done = 0; done < jobs; ++done) {
      const auto x = workers_.next();
      end = x.when;
      failed += !x.ok;
      highest_private = std::max(highest_private, x.private_bytes);
      with(x);
      if (submitted < jobs) {
        workers_.submit(picture_);
        ++submitted;
      }
    }
    return std::chrono::duration<double>(end - begin).count();
  }
  double run(uint64_t jobs) {
    return run(jobs, [](const outcome&) {});
  }

  uint64_t lost() const { return workers_.submitted() - workers_.finished(); }

  uint64_t failed = 0, highest_private = 0;

private:
  std::shared_ptr<const std::string> picture_;
  pool workers_;
};

struct round_times {
  double free, alone, healed;
};

/// Jobs per second of the healed service divided by those of the others. It is the ratio over all
/// undisturbed rounds together, so that occasional work of healing counts as well.
std::pair<double, double> ratios(const std::vector<round_times>& rounds) {
  std::vector<double> free;
  free.reserve(rounds.size());
  for (const auto& x : rounds)
    free.push_back(x.free);
  const auto usual = percentile(free, 50);
  round_times sum{};
  for (const auto& x : rounds)
    if (x.free <= disturbed * usual) {
      sum.free += x.free;
      sum.alone += x.alone;
      sum.healed += x.healed;
    }
  return {sum.alone / sum.healed, sum.free / sum.healed};
}

/// Empty where the fault is not possible here.
std::optional<json> measure(const fault_kind& kind, uint64_t bytes, const options& o,
                            naming& all_names) {
  auto text = std::string{kind.name};
  if (kind.sized)
    text += ":" + std::to_string(bytes);
  if (text.starts_with("slow_leak"))
    text += ":" + std::to_string(slow_every);
  const auto jobs = std::max<uint64_t>(
    32, std::min({o.jobs, kind.max_jobs, most_leaked / std::max<uint64_t>(bytes, 1)}));
  const auto picture = std::make_shared<const std::string>(need(read_file(o.image)));
  std::vector<double> alone_ratios, free_ratios;
  json row;
  for (uint32_t i = 0; i < o.repetitions; ++i) {
    std::fprintf(stderr, "%s, %llu jobs\n", text.c_str(), static_cast<unsigned long long>(jobs));
    pool_settings off;
    off.healing = off.explain = false;
    off.budget_bytes = off.hard_limit_bytes = 0;
    contestant without{off, picture};
    without.run(2 * o.block); // warms up, and shows the memory of a worker
    auto leaking = off;
    leaking.faults_allowed = true;
    leaking.slot_faults[0] = text;
    contestant alone{leaking, picture};
    auto healing = leaking;
    healing.healing = true;
    healing.explain = !o.no_explain;
    healing.budget_bytes = need(parse_bytes(o.budget));
    healing.hard_limit_bytes = 2 * healing.budget_bytes;
    news heard;
    contestant healed{healing, picture, &heard};
    if (i == 0 && alone.run(1) >= 0 && alone.failed > 0)
      return std::nullopt;
    healed.run(1);
    naming names;
    std::vector<round_times> rounds;
    for (uint64_t done = 0; done < jobs; done += o.block) {
      const auto n = std::min(o.block, jobs - done);
      round_times x{};
      x.free = without.run(n);
      x.alone = alone.run(n);
      x.healed = healed.run(n, [&](const outcome& job) {
        names.injected(job.slot, job.generation, kind.cause, static_cast<double>(bytes + 1));
      });
      rounds.push_back(x);
    }
    heard.await_cause();
    heard.tell(names);
    names.judge();
    all_names.add(names);
    const auto [to_alone, to_free] = ratios(rounds);
    alone_ratios.push_back(to_alone);
    free_ratios.push_back(to_free);
    if (i > 0)
      continue;
    row = {{"fault", kind.name},
           {"bytes_per_job", bytes},
           {"detected_after_jobs", heard.detected ? json(*heard.detected) : json()},
           {"cause", heard.cause.empty() ? json() : json(heard.cause)},
           {"cause_right", heard.cause == kind.cause},
           {"top_site_share", heard.reported ? json(heard.top_site_share) : json()},
           {"replacements", heard.replacements},
           {"trims", heard.trims},
           {"recovered_bytes", heard.recovered},
           {"budget_bytes", healing.budget_bytes},
           {"highest_private_bytes", healed.highest_private},
           {"highest_private_bytes_alone", alone.highest_private},
           {"jobs", jobs},
           {"failed", healed.failed},
           {"lost", healed.lost()}};
  }
  row["throughput_ratio"] = percentile(alone_ratios, 50);
  row["throughput_leak_free_ratio"] = percentile(free_ratios, 50);
  row["repetitions"] = o.repetitions;
  std::fprintf(stderr, "%s\n", row.dump().c_str());
  return row;
}

/// Leaks that take turns, in one job of four: are the replaced workers named right?
json measure_mixed(const options& o) {
  struct part {
    const char *fault, *cause;
    double bytes;
  };
  constexpr part parts[] = {{"retain_tensors:256KiB", "retained_tensors", 262'144},
                            {"retain_images:256KiB", "retained_images", 262'144},
                            {"reload_model", "model_reloaded", 1.5e6},
                            {"native_malloc:256KiB", "native_allocation", 262'144},
                            {"thread_local:128KiB", "thread_local", 150'000},
                            {"fragment:128KiB", "hoarding", 200'000}};
  constexpr uint64_t phase = 700;
  std::fprintf(stderr, "leaks that take turns, %llu jobs\n",
               static_cast<unsigned long long>(o.mixed_jobs));
  pool_settings settings;
  settings.faults_allowed = true;
  settings.budget_bytes = 48u << 20;
  settings.hard_limit_bytes = 2 * settings.budget_bytes;
  news heard;
  naming names;
  const auto picture = std::make_shared<const std::string>(need(read_file(o.image)));
  pool workers{settings, [&](const events::event& x) { heard.take(x); }};
  const auto part_of = [&](uint64_t job) {
    return job % slow_every == 0 ? &parts[job / phase % std::size(parts)] : nullptr;
  };
  uint64_t submitted = 0;
  const auto submit = [&] {
    const auto x = part_of(submitted++);
    workers.submit(picture, x != nullptr ? x->fault : "");
  };
  while (submitted < std::min(in_flight, o.mixed_jobs))
    submit();
  for (uint64_t done = 0; done < o.mixed_jobs; ++done) {
    const auto x = workers.next();
    if (const auto part = part_of(x.job); part != nullptr && x.ok)
      names.injected(x.slot, x.generation, part->cause, part->bytes);
    if (submitted < o.mixed_jobs)
      submit();
  }
  heard.await_cause();
  heard.tell(names);
  names.judge();
  auto result = names.describe();
  result["jobs"] = o.mixed_jobs;
  result["leaking_jobs"] = 1. / slow_every;
  result["lost"] = workers.submitted() - workers.finished();
  return result;
}

/// Of the naming: the share of right causes among the named, and of leaks that are named right.
json summary_of(const json& rows) {
  double named = 0, right = 0, detected = 0;
  uint64_t lost = 0;
  std::vector<double> costs;
  for (const auto& x : rows) {
    named += !x.at("cause").is_null() && x.at("cause") != "unknown";
    right += x.at("cause_right").get<bool>();
    detected += !x.at("detected_after_jobs").is_null();
    lost += x.at("lost").get<uint64_t>();
    costs.push_back(x.at("throughput_ratio"));
  }
  const auto all = static_cast<double>(rows.size());
  return {{"leaks", rows.size()},
          {"detected", detected / all},
          {"cause_precision", named > 0 ? json(right / named) : json()},
          {"cause_recall", right / all},
          {"throughput_ratio_p50", percentile(costs, 50)},
          {"throughput_ratio_min", *std::min_element(costs.begin(), costs.end())},
          {"lost", lost}};
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"How soon is a leak found, is it named right, what does healing it cost?\n"
               "Prints one JSON object; exit code 2 when a job was lost."};
  app
    .add_option("--faults", o.faults, "Only these faults, without the run of leaks that take turns")
    ->delimiter(',');
  app.add_option("--bytes", o.bytes, "Bytes that leak per job, for faults that have a size")
    ->delimiter(',')
    ->capture_default_str();
  app.add_option("--jobs", o.jobs, "Jobs of each run; fewer where 4 GiB would leak")
    ->check(CLI::Range(40, 10'000'000))
    ->capture_default_str();
  app.add_option("--block", o.block, "Jobs of one turn")
    ->check(CLI::Range(5, 100'000))
    ->capture_default_str();
  app.add_option("--budget", o.budget, "Budget of a worker's private memory")
    ->capture_default_str();
  app.add_option("--mixed-jobs", o.mixed_jobs, "Jobs of the leaks that take turns; 0: none")
    ->check(CLI::Range(0, 10'000'000))
    ->capture_default_str();
  app.add_option("--repetitions", o.repetitions)->check(CLI::Range(1, 100))->capture_default_str();
  app.add_flag("--no-explain", o.no_explain,
               "Sample no worker and name no cause, to measure the cost of that");
  app.add_option("--image", o.image, "Image of every job");
  CLI11_PARSE(app, argc, argv);
  keep_quiet();
  for (const auto& name : o.faults)
    if (std::none_of(std::begin(known_faults), std::end(known_faults),
                     [&](const auto& x) { return x.name == name; }))
      give_up("no such leak: " + name);
  auto rows = json::array(), impossible = json::array();
  naming names;
  for (const auto& kind : known_faults) {
    if (!o.faults.empty()
        && std::find(o.faults.begin(), o.faults.end(), kind.name) == o.faults.end())
      continue;
    const auto sizes = kind.sized ? o.bytes : std::vector<std::string>{"0"};
    for (const auto& x : sizes) {
      if (auto row = measure(kind, need(parse_bytes(x)), o, names)) {
        rows.push_back(std::move(*row));
      } else {
        std::fprintf(stderr, "%s cannot be had on this machine\n", kind.name);
        impossible.push_back(kind.name);
        break;
      }
    }
  }
  if (rows.empty())
    give_up("none of these faults can be had on this machine");
  auto summary = summary_of(rows);
  auto lost = summary.at("lost").get<uint64_t>();
  summary["not_here"] = impossible;
  summary["naming"] = names.describe();
  json result{{"rows", rows}};
  if (o.faults.empty() && o.mixed_jobs > 0) {
    result["mixed"] = measure_mixed(o);
    lost += result["mixed"].at("lost").get<uint64_t>();
  }
  result["summary"] = summary;
  std::printf("%s\n", result.dump(2).c_str());
  return lost == 0 ? 0 : 2;
}
