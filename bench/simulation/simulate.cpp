// Does every promise hold, whatever happens and in whatever order?
//
// The real actors run on virtual time. Kafka and the worker processes are simulated, and a seed
// decides everything that fails (docs/simulation.md). A seed that breaks a promise is shrunk, and
// the command that replays it is printed.

#include "tests/simulation/simulation.hpp"

#include "base/log.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

namespace {

using namespace ziyu::simulation;
using nlohmann::json;

struct arguments {
  uint64_t seeds = 1'000, first = 1;
  bool trace = false, shrink = true;
  std::optional<uint32_t> jobs, services, partitions, slots, fault_ms, max_batch;
  std::vector<std::string> without;

  scenario of(uint64_t seed) const {
    auto x = scenario::of(seed);
    x.jobs = jobs.value_or(x.jobs);
    x.services = services.value_or(x.services);
    x.partitions = partitions.value_or(x.partitions);
    x.slots = slots.value_or(x.slots);
    x.fault_ms = fault_ms.value_or(x.fault_ms);
    x.max_batch = max_batch.value_or(x.max_batch);
    for (const auto& name : without)
      x.faults.reset(static_cast<size_t>(*parse_fault(name)));
    return x;
  }
};

std::string list_faults(const scenario& x) {
  std::string text;
  for (size_t i = 0; i < fault_count; ++i)
    if (x.faults.test(i))
      text += (text.empty() ? "" : " ") + std::string{to_string(static_cast<fault>(i))};
  return text;
}

void print_event(int64_t us, const std::string& line) {
  std::fprintf(stderr, "%12.6f  %s\n", static_cast<double>(us) / 1e6, line.c_str());
}

/// Reports a broken promise, and how to reproduce it.
json tell(const arguments& a, const scenario& x, const violation& v) {
  std::fprintf(stderr, "seed %lu breaks %s after %.3f s: %s\n", x.seed, v.promise.c_str(),
               static_cast<double>(v.at_us) / 1e6, v.what.c_str());
  const auto small = a.shrink ? shrink(x) : x;
  const auto replay = "bench/simulate " + small.arguments() + " --trace";
  std::fprintf(stderr, "  replay: %s\n  its faults: %s\n", replay.c_str(),
               list_faults(small).c_str());
  return {{"seed", x.seed},
          {"promise", v.promise},
          {"what", v.what},
          {"at_s", static_cast<double>(v.at_us) / 1e6},
          {"replay", replay}};
}

/// What is counted over all seeds, and its name in the result.
constexpr std::pair<const char*, uint64_t outcome::*> counts[] = {
  {"steps", &outcome::steps},
  {"jobs", &outcome::jobs},
  {"results", &outcome::results},
  {"dead_letters", &outcome::dead_letters},
  {"repeated", &outcome::repeated},
  {"services", &outcome::services},
  {"workers", &outcome::workers},
  {"worker_deaths", &outcome::worker_deaths},
  {"rebalances", &outcome::rebalances},
  {"commits", &outcome::commits},
  {"breaker_openings", &outcome::openings},
  {"resumptions", &outcome::resumptions},
  {"rollouts", &outcome::rollouts},
  {"pauses", &outcome::pauses},
};

/// Runs the seeds, and says on standard error how far it is.
json run_all(const arguments& a) {
  const auto begin = std::chrono::steady_clock::now();
  auto wall_s = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  constexpr size_t most_told = 20;
  auto broken = json::array();
  uint64_t violations = 0;
  outcome sum;
  for (uint64_t i = 0; i < a.seeds; ++i) {
    const auto x = a.of(a.first + i);
    options o;
    if (a.trace)
      o.trace = print_event;
    const auto found = run(x, o);
    for (const auto& [name, count] : counts)
      sum.*count += found.*count;
    sum.simulated_us += found.simulated_us;
    if (!found.violations.empty()) {
      ++violations;
      if (broken.size() < most_told)
        broken.push_back(tell(a, x, found.violations.front()));
    }
    if ((i + 1) % 1'000 == 0)
      std::fprintf(stderr, "%lu seeds, %lu broken, %.0f s\n", i + 1, violations, wall_s());
  }
  json result{{"seeds", a.seeds},
              {"first", a.first},
              {"violations", violations},
              {"broken", broken},
              {"simulated_hours", static_cast<double>(sum.simulated_us) / 3.6e9},
              {"wall_s", wall_s()}};
  for (const auto& [name, count] : counts)
    result[name] = sum.*count;
  return result;
}

} // namespace

int main(int argc, char** argv) {
  arguments a;
  CLI::App app{"Does every promise hold, whatever happens and in whatever order?\n"
               "Runs seeds of faults in virtual time; exit code 1 when a promise is broken."};
  app.add_option("--seeds", a.seeds, "Number of seeds")->check(CLI::Range(1, 100'000'000));
  app.add_option("--first", a.first, "The first seed")->capture_default_str();
  app.add_flag("--trace", a.trace, "Print all that happens (on standard error)");
  app.add_flag("!--no-shrink", a.shrink, "Leave a seed that breaks a promise as it is");
  app.add_option("--jobs", a.jobs, "Number of jobs, instead of the seed's")
    ->check(CLI::Range(1, 1000));
  app.add_option("--services", a.services, "…")->check(CLI::Range(1, 5));
  app.add_option("--partitions", a.partitions, "…")->check(CLI::Range(1, 16));
  app.add_option("--slots", a.slots, "…")->check(CLI::Range(1, 8));
  app.add_option("--fault-ms", a.fault_ms, "…")->check(CLI::Range(1, 600'000));
  app.add_option("--max-batch", a.max_batch, "The most jobs of an attempt")
    ->check(CLI::Range(1, 16));
  app.add_option("--without", a.without, "Faults that do not happen, separated by commas")
    ->delimiter(',')
    ->check([](const std::string& x) {
      return parse_fault(x) ? std::string{} : "there is not a fault '" + x + "'";
    });
  CLI11_PARSE(app, argc, argv);
  if (auto ok = ziyu::init_log("error", "text"); !ok)
    return 2;
  spdlog::set_level(spdlog::level::off); // failures are intended
  const auto result = run_all(a);
  std::printf("%s\n", result.dump(2).c_str());
  return result["violations"] > 0 ? 1 : 0;
}
