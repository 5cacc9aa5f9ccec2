// Is a healthy service left alone, and is its memory flat?
//
// Actors and worker processes are real; only Kafka is replaced, by jobs from memory. The jobs
// are images from 1×1 to 6000×4000 in all formats, some of them broken; no worker leaks. Each
// replacement, and each byte by which a worker's live memory drifts, is a mistake.

#include "pool.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <random>
#include <set>

#include <unistd.h>

namespace {

using namespace ziyu;
using namespace ziyu::bench;
using nlohmann::json;

using image = std::shared_ptr<const std::string>;

/// A BMP of one, eight or 24 bits per pixel.
image make_bmp(uint32_t width, uint32_t height, uint32_t bits) {
  const auto row = (uint64_t{width} * bits + 31) / 32 * 4;
  const auto colours = bits <= 8 ? 1u << bits : 0;
  const auto offset = 54 + 4 * colours;
  std::string x(offset + row * height, '\0');
  auto put = [&](size_t at, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i)
      x[at + i] = static_cast<char>(value >> 8 * i);
  };
  x[0] = 'B';
  x[1] = 'M';
  put(2, x.size(), 4);
  put(10, offset, 4);
  put(14, 40, 4);
  put(18, width, 4);
  put(22, height, 4);
  put(26, 1, 2);
  put(28, bits, 2);
  put(34, row * height, 4);
  for (uint32_t i = 0; i < colours; ++i)
    put(54 + 4 * i, 0x010101u * (i * 255 / (colours - 1)), 4);
  for (size_t i = offset; i < x.size(); ++i)
    x[i] = static_cast<char>(i * 37);
  return std::make_shared<const std::string>(std::move(x));
}

/// Images by frequency.
struct album {
  std::vector<image> small; ///< Nearly always.
  std::vector<image> medium;
  image large; ///< 6000×4000.

  album() {
    const std::filesystem::path data = ZIYU_SOURCE_DIR "/tests/data";
    for (auto folder : {"images", "bad"})
      add_files(data / folder, 1);
    add_files(data / "digits", 15); // much alike
    for (auto bits : {1u, 8u, 24u}) {
      small.push_back(make_bmp(1, 1, bits));
      small.push_back(make_bmp(33, 65, bits));
      medium.push_back(make_bmp(640, 480, bits));
      medium.push_back(make_bmp(1280, 960, bits));
    }
    large = make_bmp(6000, 4000, 1);
  }

  /// Each `nth` file of `folder`, by name.
  void add_files(const std::filesystem::path& folder, size_t nth) {
    std::set<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(folder))
      if (file.path().extension() != ".json")
        files.insert(file.path());
    size_t i = 0;
    for (const auto& file : files)
      if (i++ % nth == 0)
        small.push_back(std::make_shared<const std::string>(need(read_file(file))));
  }

  std::vector<image> all() const {
    auto result = small;
    result.insert(result.end(), medium.begin(), medium.end());
    result.push_back(large);
    return result;
  }
};

/// Writes what the judge sees of each worker, for `bench/judge`: one file per worker.
class recorder {
public:
  explicit recorder(std::filesystem::path folder) : folder_(std::move(folder)) {
    std::filesystem::create_directories(folder_);
  }

  void add(const actors::job_done& x) {
    std::lock_guard guard{mutex_};
    auto& out = files_[x.worker];
    if (!out.is_open()) {
      out.open(folder_ / ("healthy_worker" + std::to_string(x.worker) + ".csv"));
      out << "# healthy healthy 0 0\n"
             "live_bytes,private_bytes,encoded_bytes,decoded_bytes,ok,batch\n";
    }
    const auto& m = x.memory;
    supervision::job_input sum;
    for (const auto& job : m.jobs) {
      sum.encoded_bytes += job.encoded_bytes;
      sum.decoded_bytes += job.decoded_bytes;
      sum.ok = sum.ok && job.ok;
    }
    out << m.said.live << ',' << m.private_bytes << ',' << sum.encoded_bytes << ','
        << sum.decoded_bytes << ',' << sum.ok << ',' << m.jobs.size() << '\n';
  }

private:
  const std::filesystem::path folder_;
  std::mutex mutex_;
  std::map<uint64_t, std::ofstream> files_;
};

/// Live bytes of one worker after warm-up.
struct flatness {
  uint64_t jobs = 0, first = 0, last = 0, lowest = UINT64_MAX, highest = 0;

  void add(uint64_t live) {
    if (jobs++ == 0)
      first = live;
    last = live;
    lowest = std::min(lowest, live);
    highest = std::max(highest, live);
  }
};

/// In warm-up all images come in turn, so often that every worker has met each of them: buffers and
/// tables grow at the first input of a kind, also in healthy workers.
constexpr uint64_t warm_up_rounds = 20;

struct options {
  uint64_t jobs = 100'000, large_every = 2'000, medium_every = 50, varied_every = 0;
  uint32_t slots = 2, seed = 1;
  std::string model, record;
};

/// The image of each job.
class image_order {
public:
  explicit image_order(const options& o)
    : options_(o), random_(o.seed), all_(images_.all()),
      warmup_(std::max(o.jobs / 5, warm_up_rounds * all_.size())) {}

  uint64_t warmup() const { return warmup_; } ///< Jobs.
  size_t images() const { return all_.size(); }

  /// `job` counts from 0; to be asked for in order.
  image of(uint64_t job) {
    if (job < warmup_)
      return all_[job % all_.size()];
    if (job % options_.large_every == options_.large_every / 2)
      return images_.large;
    if (options_.varied_every > 0 && job % options_.varied_every == 0)
      return varied();
    if (job % options_.medium_every == 0)
      return images_.medium[random_() % images_.medium.size()];
    return images_.small[random_() % images_.small.size()];
  }

private:
  /// Each order of magnitude equally often, from one pixel to 12 Mpx.
  image varied() {
    std::uniform_real_distribution octave{0., std::log2(12e6)};
    const auto side = std::sqrt(std::exp2(octave(random_)));
    return make_bmp(static_cast<uint32_t>(std::ceil(side * 1.15)),
                    static_cast<uint32_t>(std::ceil(side / 1.16)), 1);
  }

  const options& options_;
  const album images_;
  std::mt19937 random_;
  const std::vector<image> all_;
  const uint64_t warmup_;
};

/// The events of the pool, which come from its publisher's thread.
class event_book {
public:
  void add(const events::event& x) {
    std::lock_guard guard{mutex_};
    ++counts_[std::string{type_of(x.body)}];
    if (const auto* grows = std::get_if<events::growth_confirmed>(&x.body))
      confirmed_.push_back(grows->worker.judgement);
    if (const auto* leaks = std::get_if<events::leak_confirmed>(&x.body))
      confirmed_.push_back(leaks->worker.judgement);
  }

  void describe(json& result) {
    std::lock_guard guard{mutex_};
    result["leaks_suspected"] = counts_["leak_suspected"];
    result["leaks_confirmed"] = confirmed_.size();
    result["confirmed"] = confirmed_;
    result["trims"] = counts_["worker_trimmed"];
  }

private:
  std::mutex mutex_;
  std::map<std::string, uint64_t> counts_;
  json confirmed_ = json::array();
};

/// The private memory of a process, compared with that at the end of warm-up.
struct watched {
  int32_t pid = 0;
  uint64_t before = 0;

  void begin(int32_t process) {
    pid = process;
    before = private_bytes_of(process);
  }
  int64_t growth() const {
    return static_cast<int64_t>(private_bytes_of(pid)) - static_cast<int64_t>(before);
  }
};

void describe(const std::map<int32_t, flatness>& live, json& result) {
  int64_t drift = 0;
  uint64_t band = 0, judged = 0;
  for (const auto& [pid, x] : live) {
    const auto by = static_cast<int64_t>(x.last) - static_cast<int64_t>(x.first);
    if (std::abs(by) > std::abs(drift))
      drift = by;
    band = std::max(band, x.highest - x.lowest);
    judged += x.jobs;
  }
  result["live_drift_bytes"] = drift;
  result["live_band_bytes"] = band;
  result["bytes_per_job"] = judged > 0
                              ? static_cast<double>(drift) * static_cast<double>(live.size())
                                  / static_cast<double>(judged)
                              : 0.;
  result["workers"] = live.size();
}

json measure(const options& o) {
  event_book happened;
  pool_settings settings;
  if (!o.model.empty())
    settings.model = o.model;
  settings.slots = o.slots;
  std::optional<recorder> tape;
  if (!o.record.empty()) {
    tape.emplace(o.record);
    settings.on_job = [&tape](const auto& x) { tape->add(x); };
  }
  pool workers{settings, [&](const events::event& x) { happened.add(x); }};
  image_order images{o};
  const auto warmup = images.warmup();
  if (warmup >= o.jobs)
    give_up("--jobs must be above " + std::to_string(warmup) + ", the jobs of warm-up");
  std::map<int32_t, flatness> live;
  uint64_t good = 0, submitted = 0;
  watched control, server;
  const auto start = clock::now();
  for (; submitted < std::min<uint64_t>(4 * o.slots, o.jobs); ++submitted)
    workers.submit(images.of(submitted));
  for (uint64_t done = 0; done < o.jobs; ++done) {
    const auto x = workers.next();
    if (submitted < o.jobs)
      workers.submit(images.of(submitted++));
    good += x.ok;
    if (x.ok && done >= warmup)
      live[x.pid].add(x.live_bytes);
    if (done == warmup) {
      server.begin(workers.workers().at("fork_server").at("pid"));
      control.begin(::getpid());
    }
  }
  const auto seconds = std::chrono::duration<double>(clock::now() - start).count();
  const auto control_growth = control.growth(), server_growth = server.growth();
  json result{{"jobs", o.jobs},
              {"replacements", workers.status().replacements},
              {"warmup_jobs", warmup},
              {"good", good},
              {"dead_letters", o.jobs - good},
              {"lost", workers.submitted() - workers.finished()},
              {"control_growth_bytes", control_growth},
              {"fork_server_growth_bytes", server_growth},
              {"images", images.images()},
              {"seconds", seconds}};
  describe(live, result);
  happened.describe(result);
  return result;
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"Is a healthy service left alone, and is its memory flat?\n"
               "Prints one JSON object; exit code 2 when a worker was replaced or a job lost."};
  app.add_option("--jobs", o.jobs)->check(CLI::Range(100, 100'000'000))->capture_default_str();
  app.add_option("--slots", o.slots)->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--large-every", o.large_every, "One job in so many is 6000×4000")
    ->check(CLI::Range(2, 1'000'000))
    ->capture_default_str();
  app
    .add_option("--varied-every", o.varied_every,
                "One job in so many is of any size up to 12 Mpx; 0: none")
    ->check(CLI::Range(0, 1'000'000))
    ->capture_default_str();
  app.add_option("--record", o.record,
                 "Folder for the readings that the judge saw, one CSV file per worker");
  app.add_option("--seed", o.seed, "Seed of the order of the images")->capture_default_str();
  app.add_option("--model", o.model, "Model folder (default: digits)");
  CLI11_PARSE(app, argc, argv);
  keep_quiet();
  const auto x = measure(o);
  std::printf("%s\n", x.dump(2).c_str());
  return x.at("replacements") == 0 && x.at("lost") == 0 ? 0 : 2;
}
