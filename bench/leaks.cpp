// How soon is a leak found, is it named right, and what does healing it cost?
//
// Real actors and real worker processes; only Kafka is replaced, by jobs from memory. Each
// fault runs three times side by side: not at all, left alone, and healed.

#include "pool.hpp"

#include "base/bytes.hpp"
#include "base/log.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <csignal>

namespace {

using namespace ziyu;
using namespace ziyu::bench;
using namespace std::chrono_literals;
using nlohmann::json;

struct fault_kind {
  const char *name, *cause;
  bool sized;
  uint64_t max_jobs; ///< What one process bears: threads, arenas.
};

constexpr fault_kind known_faults[] = {
  {"retain_tensors", "retained_tensors", true, UINT64_MAX},
  {"retain_images", "retained_images", true, UINT64_MAX},
  {"reload_model", "model_reloaded", false, UINT64_MAX},
  {"native_malloc", "native_allocation", true, UINT64_MAX},
  {"thread_local", "thread_local", true, 400},
  {"fragment", "hoarding", true, 1'000},
  {"slow_leak", "native_allocation", true, UINT64_MAX},
};

/// One job in so many leaks with slow_leak.
constexpr uint64_t slow_every = 4;

/// What a leak that is left alone may take of the machine.
constexpr uint64_t most_leaked = uint64_t{4} << 30;

struct options {
  std::vector<std::string> faults;
  std::vector<std::string> bytes{"1KiB", "64KiB", "6700kB"};
  uint64_t jobs = 2'000, budget_jobs = 40;
  uint32_t repetitions = 1;
  std::string image = ZIYU_SOURCE_DIR "/tests/data/digits/0_024.png";
};

/// What is heard of a leak.
class news {
public:
  void take(const json& event) {
    const auto type = event.at("type").get<std::string>();
    const auto& detail = event.at("detail");
    std::lock_guard guard{mutex_};
    if (type == "leak_confirmed" && !detected)
      detected = detail.at("jobs").get<uint64_t>();
    else if (type == "leak_report" && !reported) {
      reported = true;
      cause = detail.at("cause");
      if (!detail.at("sites").empty())
        top_site_share = detail.at("sites").at(0).at("share").get<double>();
    } else if (type == "worker_replaced") {
      ++replacements;
      recovered += detail.at("bytes_recovered").get<uint64_t>();
      if (!reported && (cause.empty() || cause == "unknown"))
        cause = detail.at("cause");
    } else if (type == "worker_trimmed") {
      ++trims;
      recovered += detail.at("bytes_recovered").get<uint64_t>();
    }
    changed_.notify_all();
  }

  /// Until a leak that was found has its cause.
  void await_cause() {
    std::unique_lock guard{mutex_};
    changed_.wait_for(guard, 35s, [this] { return !detected || !cause.empty(); });
  }

  std::optional<uint64_t> detected;
  bool reported = false;
  std::string cause;
  double top_site_share = 0;
  uint64_t replacements = 0, trims = 0, recovered = 0;

private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

struct run {
  double jobs_per_second = 0;
  uint64_t highest_private = 0, baseline = 0, lost = 0, failed = 0;
};

run run_jobs(pool_settings settings, uint64_t jobs, const options& o, news* heard) {
  const auto picture = std::make_shared<const std::string>(need(read_file(o.image)));
  pool workers{std::move(settings), [heard](const json& x) {
                 if (heard != nullptr)
                   heard->take(x);
               }};
  run result;
  uint64_t submitted = 0;
  for (; submitted < std::min<uint64_t>(4, jobs); ++submitted)
    workers.submit(picture);
  clock::time_point begin, end;
  for (uint64_t done = 0; done < jobs; ++done) {
    const auto x = workers.next();
    if (submitted < jobs) {
      workers.submit(picture);
      ++submitted;
    }
    if (done == 0) {
      begin = x.when;
      result.baseline = private_bytes_of(x.pid);
    }
    end = x.when;
    result.failed += !x.ok;
    result.highest_private = std::max(result.highest_private, x.private_bytes);
  }
  result.jobs_per_second = static_cast<double>(jobs - 1)
                           / std::chrono::duration<double>(end - begin).count();
  if (heard != nullptr)
    heard->await_cause();
  result.lost = workers.submitted() - workers.finished();
  return result;
}

json measure(const fault_kind& kind, uint64_t bytes, const options& o) {
  auto text = std::string{kind.name};
  if (kind.sized)
    text += ":" + std::to_string(bytes);
  if (text.starts_with("slow_leak"))
    text += ":" + std::to_string(slow_every);
  const auto jobs = std::max<uint64_t>(
    32, std::min({o.jobs, kind.max_jobs, most_leaked / std::max<uint64_t>(bytes, 1)}));
  std::vector<double> alone_ratios, free_ratios;
  json row;
  for (uint32_t i = 0; i < o.repetitions; ++i) {
    std::fprintf(stderr, "%s, %llu jobs\n", text.c_str(), static_cast<unsigned long long>(jobs));
    pool_settings off;
    off.healing = off.explain = false;
    off.budget_bytes = off.hard_limit_bytes = 0;
    const auto without = run_jobs(off, jobs, o, nullptr);
    auto alone = off;
    alone.faults_allowed = true;
    alone.slot_faults[0] = text;
    const auto ill = run_jobs(alone, jobs, o, nullptr);
    auto healing = alone;
    healing.healing = healing.explain = true;
    healing.budget_bytes = without.highest_private
                           + std::max<uint64_t>(o.budget_jobs * bytes, 4u << 20);
    healing.hard_limit_bytes = 2 * healing.budget_bytes;
    news heard;
    const auto healed = run_jobs(healing, jobs, o, &heard);
    alone_ratios.push_back(healed.jobs_per_second / ill.jobs_per_second);
    free_ratios.push_back(healed.jobs_per_second / without.jobs_per_second);
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
           {"highest_private_bytes_alone", ill.highest_private},
           {"jobs", jobs},
           {"failed", healed.failed},
           {"lost", healed.lost}};
  }
  row["throughput_ratio"] = percentile(alone_ratios, 50);
  row["throughput_leak_free_ratio"] = percentile(free_ratios, 50);
  row["repetitions"] = o.repetitions;
  std::fprintf(stderr, "%s\n", row.dump().c_str());
  return row;
}

/// Of the naming: how many of the named causes are right, how many leaks are named right.
json summary_of(const json& rows) {
  double named = 0, right = 0, detected = 0;
  uint64_t lost = 0;
  for (const auto& x : rows) {
    named += !x.at("cause").is_null() && x.at("cause") != "unknown";
    right += x.at("cause_right").get<bool>();
    detected += !x.at("detected_after_jobs").is_null();
    lost += x.at("lost").get<uint64_t>();
  }
  const auto all = static_cast<double>(rows.size());
  return {{"leaks", rows.size()},
          {"detected", detected / all},
          {"cause_precision", named > 0 ? json(right / named) : json()},
          {"cause_recall", right / all},
          {"lost", lost}};
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"How soon is a leak found, is it named right, what does healing it cost?\n"
               "Prints one JSON object; exit code 2 when a job was lost."};
  app.add_option("--faults", o.faults, "Only these")->delimiter(',');
  app.add_option("--bytes", o.bytes, "Per job, for faults that have a size")
    ->delimiter(',')
    ->capture_default_str();
  app.add_option("--jobs", o.jobs, "Of each run; fewer where 4 GB would leak")
    ->check(CLI::Range(32, 10'000'000))
    ->capture_default_str();
  app.add_option("--budget-jobs", o.budget_jobs, "Leaking jobs that fit into the budget")
    ->check(CLI::Range(8, 1'000'000))
    ->capture_default_str();
  app.add_option("--repetitions", o.repetitions, "Ratios are their medians")
    ->check(CLI::Range(1, 100))
    ->capture_default_str();
  app.add_option("--image", o.image, "Image of every job");
  CLI11_PARSE(app, argc, argv);
  need(init_log("error", "text"));
  spdlog::set_level(spdlog::level::off);
  ::signal(SIGPIPE, SIG_IGN);
  for (const auto& name : o.faults)
    if (std::none_of(std::begin(known_faults), std::end(known_faults),
                     [&](const auto& x) { return x.name == name; }))
      give_up("no such leak: " + name);
  auto rows = json::array();
  for (const auto& kind : known_faults) {
    if (!o.faults.empty()
        && std::find(o.faults.begin(), o.faults.end(), kind.name) == o.faults.end())
      continue;
    if (!kind.sized)
      rows.push_back(measure(kind, 0, o));
    else
      for (const auto& x : o.bytes)
        rows.push_back(measure(kind, need(parse_bytes(x)), o));
  }
  const auto summary = summary_of(rows);
  std::printf("%s\n", json{{"rows", rows}, {"summary", summary}}.dump(2).c_str());
  return summary.at("lost") == 0 ? 0 : 2;
}
