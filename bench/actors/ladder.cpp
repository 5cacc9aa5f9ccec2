// What does each rung of the healing ladder do to a worker's memory?
//
// Actors and worker processes are real; only Kafka is replaced, by jobs from memory. Services
// run one after the other, each with a fault for one rung, and one service without healing.
// With --series it prints what docs/images/ladder.svg and docs/images/recovered.svg show.

#include "pool.hpp"

#include "base/bytes.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>

namespace {

using namespace ziyu;
using namespace ziyu::bench;
using nlohmann::json;

constexpr double mib = 0x1p20;
constexpr uint64_t in_flight = 4;

struct options {
  uint64_t jobs = 400, budget = 48u << 20, hard_limit = 96u << 20;
  bool series = false;
  std::string image = ZIYU_SOURCE_DIR "/tests/data/digits/0_024.png";
};

/// The fault of a service, and the rung that must heal it.
struct scene {
  const char *name, *fault, *event; ///< Event: what the rung emits; empty: no healing.
  uint64_t every;                   ///< One job in so many has the fault.
};

constexpr scene scenes[] = {
  {"left alone", "native_malloc:256KiB", "", 1},
  {"trim", "fragment:256KiB", "worker_trimmed", 1},
  {"replace", "native_malloc:256KiB", "worker_replaced", 1},
  {"kill", "native_malloc:120MiB", "worker_killed", 80},
};

struct course {
  std::vector<std::pair<double, double>> memory;    ///< Job, private MiB.
  std::vector<std::pair<double, double>> recovered; ///< Job, MiB in all.
  std::vector<std::pair<double, double>> healed_at; ///< Job, private MiB before.
  std::vector<double> ms;
  uint64_t times = 0, bytes = 0, lost = 0, failed = 0, highest = 0;
};

course play(const scene& s, const options& o) {
  pool_settings settings;
  settings.faults_allowed = true;
  settings.healing = settings.explain = *s.event != '\0';
  settings.budget_bytes = o.budget;
  settings.hard_limit_bytes = o.hard_limit;
  settings.probe_interval = std::chrono::milliseconds{100};
  settings.restart_intensity = 1'000;
  settings.max_attempts = 50;
  std::mutex mutex;
  std::vector<json> news;
  pool workers{settings, [&](const events::event& x) {
                 if (type_of(x.body) != s.event)
                   return;
                 std::lock_guard guard{mutex};
                 news.push_back(detail_of(x.body));
               }};
  const auto picture = std::make_shared<const std::string>(need(read_file(o.image)));
  uint64_t submitted = 0;
  const auto submit = [&] {
    const auto ill = submitted % s.every == s.every - 1;
    workers.submit(picture, ill ? s.fault : "");
    ++submitted;
  };
  while (submitted < std::min(in_flight, o.jobs))
    submit();
  course x;
  uint64_t fresh = 0;
  double before = 0;
  for (uint64_t done = 0; done < o.jobs; ++done) {
    const auto job = workers.next();
    if (submitted < o.jobs)
      submit();
    x.failed += !job.ok;
    const auto at = static_cast<double>(done + 1);
    std::lock_guard guard{mutex};
    for (const auto& detail : news) {
      ++x.times;
      // A kill reports all memory; a fresh worker's own part of it is not recovered.
      const auto bytes = detail.contains("bytes_recovered")
                           ? detail.at("bytes_recovered").get<uint64_t>()
                           : detail.at("private_bytes").get<uint64_t>() - fresh;
      x.bytes += bytes;
      if (detail.contains("ms"))
        x.ms.push_back(detail.at("ms"));
      x.healed_at.emplace_back(at, before);
      x.recovered.emplace_back(at, static_cast<double>(x.bytes) / mib);
    }
    news.clear();
    if (!job.ok)
      continue;
    before = static_cast<double>(job.private_bytes) / mib;
    fresh = fresh == 0 ? job.private_bytes : std::min(fresh, job.private_bytes);
    x.highest = std::max(x.highest, job.private_bytes);
    x.memory.emplace_back(at, before);
  }
  x.lost = workers.submitted() - workers.finished();
  return x;
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"What does each rung of the healing ladder do to a worker's memory?\n"
               "Prints one JSON object; exit code 2 when a job was lost or a rung not used."};
  app.add_option("--jobs", o.jobs, "Jobs of each service")
    ->check(CLI::Range(100, 100'000))
    ->capture_default_str();
  app.add_flag("--series", o.series, "Also print each rung's memory and what it gave back, in MiB");
  app.add_option("--image", o.image, "Image of every job");
  CLI11_PARSE(app, argc, argv);
  keep_quiet();
  auto rungs = json::array();
  auto well = true;
  for (const auto& s : scenes) {
    std::fprintf(stderr, "%s: %s\n", s.name, s.fault);
    const auto x = play(s, o);
    well = well && x.lost == 0 && (*s.event == '\0' || x.times > 0);
    rungs.push_back({{"rung", s.name},
                     {"fault", s.fault},
                     {"times", x.times},
                     {"recovered_bytes", x.bytes},
                     {"ms_p50", x.ms.empty() ? json() : json(percentile(x.ms, 50))},
                     {"highest_private_bytes", x.highest},
                     {"failed", x.failed},
                     {"lost", x.lost}});
    if (o.series)
      rungs.back()["series"] = {
        {"memory", x.memory}, {"recovered", x.recovered}, {"healed_at", x.healed_at}};
  }
  std::printf("%s\n", json{{"jobs", o.jobs},
                           {"budget_bytes", o.budget},
                           {"hard_limit_bytes", o.hard_limit},
                           {"rungs", rungs}}
                        .dump(2)
                        .c_str());
  return well ? 0 : 2;
}
