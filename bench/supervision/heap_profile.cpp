// Measures what heap-profile sampling costs a real worker, and what it finds. Prints JSON on
// standard output.
//
//   bench_heap_profile [--model DIR] [--image FILE] [--rounds N] [--jobs N]
//   bench_heap_profile --record DIR       fixtures for tests/data/heap
//
// Throughput: rounds of jobs with sampling off and at every rate take turns, so that other
// load affects all of them. The figures are medians over the rounds. On a busy machine use
// processor_ratio, which does not include the time of other programs.

#include "support/real_worker.hpp"

#include "supervision/leak_report.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>

using namespace ziyu;
using nlohmann::json;

namespace {

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

/// Processor time of a process so far, ms: it does not include other programs' time.
double processor_ms(int32_t pid) {
  double ns = 0;
  std::ifstream{"/proc/" + std::to_string(pid) + "/schedstat"} >> ns;
  return ns / 1e6;
}

/// What jobs cost with sampling at one rate.
struct series {
  std::vector<double> wall_ms, processor_ms, dump_ms; ///< Per job; per dump.
  size_t dump_bytes = 0;
};

/// All rates against none (rate 0).
json throughput(const std::string& model, const std::string& image, int rounds, int jobs) {
  test::real_worker worker{"", model};
  worker.run(image, 5);
  const std::vector<int> rates{0, 19, 17, 16, 15, 14, 13, 12, 11, 10, 9};
  std::map<int, series> all;
  for (auto round = 0; round < rounds; ++round)
    for (auto rate : rates) {
      auto& x = all[rate];
      if (rate == 0)
        worker.profile(wire::profile::stop);
      else
        worker.profile(wire::profile::start, static_cast<uint8_t>(rate));
      const auto start = std::chrono::steady_clock::now();
      const auto before = processor_ms(worker.pid());
      worker.run(image, jobs);
      x.processor_ms.push_back((processor_ms(worker.pid()) - before) / jobs);
      const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now()
                                                              - start;
      x.wall_ms.push_back(taken.count() / jobs);
      if (rate != 0) {
        const auto dump = worker.profile(wire::profile::dump);
        x.dump_ms.push_back(static_cast<double>(dump.duration_us) / 1000);
        x.dump_bytes = dump.heap.size();
      }
    }
  auto rows = json::array();
  const auto off = all[0];
  for (auto rate : rates) {
    const auto& x = all[rate];
    json row{{"log2_sample", rate},
             {"ms_per_job", median(x.wall_ms)},
             {"processor_ms_per_job", median(x.processor_ms)},
             {"throughput_ratio", median(off.wall_ms) / median(x.wall_ms)},
             {"processor_ratio", median(off.processor_ms) / median(x.processor_ms)}};
    if (rate != 0) {
      row["dump_ms"] = median(x.dump_ms);
      row["dump_bytes"] = x.dump_bytes;
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

struct leak {
  const char* fault;
  const char* model;
  double bytes_per_job; ///< About.
};

constexpr const char* digits = ZIYU_SOURCE_DIR "/models/digits/1";
constexpr const char* leaky = ZIYU_SOURCE_DIR "/tests/data/models/leaky/1";
constexpr leak leaks[] = {
  {"native_malloc:64KiB", digits, 64 << 10},
  {"native_malloc:1KiB", digits, 1 << 10},
  {"slow_leak:64KiB:10", digits, 6554},
  {"retain_tensors:1MiB", digits, 1 << 20},
  {"retain_tensors", digits, 400},
  {"retain_images", digits, 61'000},
  {"reload_model", digits, 1.5e6},
  {"thread_local:64KiB", digits, 64 << 10},
  {"", leaky, 65'000},
};

/// Runs `jobs` jobs with a fault between two dumps.
supervision::leak_request observe(const leak& x, const std::string& image, int jobs,
                                  uint8_t log2_sample) {
  test::real_worker worker{"", x.model};
  worker.run(image, 5);
  worker.assign(x.fault);
  worker.profile(wire::profile::start, log2_sample);
  worker.run(image, 2);
  const auto before = worker.profile(wire::profile::dump);
  worker.run(image, jobs);
  return test::compare(before, worker.profile(wire::profile::dump));
}

json found(const std::string& image, int jobs) {
  auto rows = json::array();
  for (const auto& x : leaks) {
    const auto rate = supervision::choose_sample_rate(x.bytes_per_job, static_cast<uint64_t>(jobs));
    const auto request = observe(x, image, jobs, rate);
    const auto start = std::chrono::steady_clock::now();
    const auto report = supervision::explain_leak(request);
    const std::chrono::duration<double, std::milli> taken = std::chrono::steady_clock::now()
                                                            - start;
    json row{{"fault", *x.fault == '\0' ? "leaky model" : x.fault},
             {"log2_sample", rate},
             {"live_growth", request.live_growth},
             {"explain_ms", taken.count()}};
    if (report) {
      row["estimated_bytes"] = report->estimated_bytes;
      row["cause"] = to_string(report->cause);
      if (!report->sites.empty()) {
        row["top_site"] = describe(report->sites.front().responsible());
        row["top_site_bytes"] = report->sites.front().bytes;
        row["top_site_share"] = report->sites.front().share;
      }
    } else {
      row["error"] = report.error().describe();
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// -- fixtures ---------------------------------------------------------------------------

/// The mappings that the dump's addresses lie in, as lines of /proc/<pid>/maps.
std::string used_maps(const supervision::heap_profile& dump, const std::string& maps) {
  std::string result;
  for (const auto& x : supervision::parse_maps(maps)) {
    const auto used = std::any_of(dump.stacks.begin(), dump.stacks.end(), [&](const auto& stack) {
      return std::any_of(stack.addresses.begin(), stack.addresses.end(),
                         [&](uint64_t a) { return a >= x.begin && a < x.end; });
    });
    const auto name = x.path.substr(x.path.rfind('/') + 1);
    char line[512];
    if (used)
      std::snprintf(line, sizeof line, "%lx-%lx r-xp %08lx 00:00 0 /lib/%s\n", x.begin, x.end,
                    x.offset, name.c_str());
    else
      line[0] = '\0';
    result += line;
  }
  return result;
}

void record(const std::filesystem::path& folder, const std::string& image) {
  constexpr size_t most_stacks = 30;
  std::filesystem::create_directories(folder);
  for (const auto& x : leaks) {
    if (std::string_view{x.fault} == "retain_tensors")
      continue; // some hundred bytes, too few for this rate
    const auto request = observe(x, image, 50, 14);
    const auto before = supervision::parse_heap_profile(request.before),
               after = supervision::parse_heap_profile(request.after);
    if (!before || !after)
      throw std::runtime_error("a dump that cannot be read");
    std::string name = *x.fault == '\0' ? "leaky_model" : x.fault;
    std::replace(name.begin(), name.end(), ':', '_');
    auto growth = *supervision::diff(*before, *after);
    json stacks = json::array();
    for (const auto& s : supervision::name_stacks(growth, supervision::parse_maps(request.maps))) {
      if (stacks.size() == most_stacks)
        break;
      auto frames = json::array();
      for (const auto& f : s.stack) {
        const auto file = f.file.substr(f.file.rfind('/') + 1);
        frames.push_back(json::array({supervision::short_name(f.function), f.library, file}));
      }
      stacks.push_back({{"bytes", s.bytes},
                        {"objects", s.objects},
                        {"threads", s.threads},
                        {"stack", std::move(frames)}});
    }
    std::ofstream{folder / (name + ".json")}
      << json{{"fault", x.fault}, {"live_growth", request.live_growth}, {"stacks", stacks}}.dump()
      << '\n';
    if (request.before.size() + request.after.size() < 16 * 1024) {
      std::ofstream{folder / (name + ".before.heap")} << request.before;
      std::ofstream{folder / (name + ".after.heap")} << request.after << "\nMAPPED_LIBRARIES:\n"
                                                     << used_maps(*after, request.maps);
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"What heap-profile sampling costs a worker, and what it finds"};
  std::string model = digits, image_path, record_to;
  auto rounds = 5, jobs = 100;
  auto only_throughput = false;
  app.add_option("--model", model, "Model folder")->capture_default_str();
  app.add_option("--image", image_path, "Image of every job (a digit of 128x128)");
  app.add_option("--rounds", rounds, "Rounds per rate")->capture_default_str();
  app.add_option("--jobs", jobs, "Jobs per round")->capture_default_str();
  app.add_flag("--only-throughput", only_throughput, "Do not inject leaks");
  app.add_option("--record", record_to, "Write fixtures to this folder and nothing else");
  CLI11_PARSE(app, argc, argv);
  auto image = test::digit();
  if (!image_path.empty()) {
    auto bytes = read_file(image_path);
    if (!bytes) {
      std::cerr << bytes.error().describe() << '\n';
      return 2;
    }
    image = *bytes;
  }
  if (!record_to.empty()) {
    record(record_to, image);
    return 0;
  }
  json result{{"model", model}, {"throughput", throughput(model, image, rounds, jobs)}};
  if (!only_throughput)
    result["leaks"] = found(image, 50);
  std::cout << result.dump(2) << '\n';
}
