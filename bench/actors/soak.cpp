// Does the service itself stay the same while its workers leak for ever?
//
// Actors and worker processes are real; only Kafka is replaced, by jobs from memory. One job
// in four leaks, and kinds of leaks take turns. The control process (this one) and the fork
// server must not grow, and the workers must not pass their budget.

#include "naming.hpp"
#include "pool.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>

#include <unistd.h>

namespace {

using namespace ziyu;
using namespace ziyu::bench;
using nlohmann::json;

constexpr uint64_t largest_leak = 1u << 20; ///< Of one job.
struct injected_fault {
  const char *fault, *cause;
  double bytes; ///< Of a job, roughly, on average: to know which kind has the largest share.
};
constexpr injected_fault faults[] = {
  {"retain_tensors:256KiB", "retained_tensors", 256 * 1024.},
  {"retain_images:256KiB", "retained_images", 256 * 1024.},
  {"reload_model", "model_reloaded", 1.5e6},
  {"native_malloc:256KiB", "native_allocation", 256 * 1024.},
  {"thread_local:128KiB", "thread_local", 150 * 1024.},
  {"fragment:128KiB", "hoarding", 200 * 1024.},
  {"slow_leak:1MiB:4", "native_allocation", 256 * 1024.},
};

struct options {
  uint64_t jobs = 200'000, phase = 1'000, fault_every = 4, budget = 64u << 20;
  uint32_t slots = 2;
  std::string image = ZIYU_SOURCE_DIR "/tests/data/digits/0_024.png";
};

/// A process whose growth of anonymous memory counts from the end of the warm-up. Its private
/// memory is shown as well, but changes by itself: pages of a file are private while no other
/// process has them. Memory that a fork server shares with its workers becomes private, and shared
/// again, as they end and begin.
struct watched {
  struct reading {
    int64_t private_bytes = 0, anonymous = 0;
  };
  int32_t pid = 0;
  reading base, last;
  std::vector<reading> all;

  void look(int32_t now) {
    const auto memory = supervision::read_process_memory(now);
    if (!memory)
      return;
    last = {static_cast<int64_t>(memory->private_bytes), static_cast<int64_t>(memory->anonymous)};
    if (std::exchange(pid, now) != now)
      base = last;
    all.push_back(last);
  }
  json describe() const {
    auto series = json::array();
    for (const auto& x : all)
      series.push_back({x.private_bytes, x.anonymous});
    return {{"growth_bytes", last.private_bytes - base.private_bytes},
            {"anonymous_growth_bytes", last.anonymous - base.anonymous},
            {"series", series}};
  }
};

/// The events of the pool, which come from its publisher's thread.
class event_book {
public:
  void add(const events::event& x) {
    std::lock_guard guard{mutex_};
    ++counts_[std::string{type_of(x.body)}];
    if (const auto* worker = std::get_if<events::worker_replaced>(&x.body)) {
      ++causes_[worker->cause];
      replaced_.push_back(*worker);
    }
    if (const auto* report = std::get_if<events::leak_report>(&x.body))
      ++reports_[report->cause];
  }

  /// Replacements since the last call.
  std::vector<events::worker_replaced> take_replaced() {
    std::lock_guard guard{mutex_};
    return std::exchange(replaced_, {});
  }

  void describe(json& result) {
    std::lock_guard guard{mutex_};
    result["causes"] = causes_;
    result["leak_reports"] = reports_;
    result["events"] = counts_;
  }

private:
  std::mutex mutex_;
  std::map<std::string, uint64_t> counts_, causes_, reports_;
  std::vector<events::worker_replaced> replaced_;
};

/// The jobs, of which some leak: kinds of leaks take turns.
class leaking_jobs {
public:
  explicit leaking_jobs(const options& o)
    : options_(o), picture_(std::make_shared<const std::string>(need(read_file(o.image)))) {}

  /// None: the job does not leak.
  const injected_fault* fault_of(uint64_t job) const {
    return job % options_.fault_every == 0 ? &faults[job / options_.phase % std::size(faults)]
                                           : nullptr;
  }
  /// Submits the next job, unless all are submitted.
  void submit(pool& workers) {
    if (submitted_ == options_.jobs)
      return;
    const auto* fault = fault_of(submitted_++);
    workers.submit(picture_, fault != nullptr ? fault->fault : "");
  }

private:
  const options& options_;
  const std::shared_ptr<const std::string> picture_;
  uint64_t submitted_ = 0;
};

/// Our own processes that must stay as they are.
struct own_processes {
  watched control, fork_server;
  uint64_t fork_servers = 0; ///< Each replacement is one more.

  void look(pool& workers) {
    control.look(::getpid());
    const auto now = workers.workers().at("fork_server");
    if (const int32_t pid = now.at("pid"); now.at("ready")) {
      fork_servers += pid != fork_server.pid;
      fork_server.look(pid);
    }
  }
  void look_last() {
    control.look(::getpid());
    fork_server.look(fork_server.pid);
  }
};

pool_settings settings_of(const options& o) {
  pool_settings result;
  result.slots = o.slots;
  result.budget_bytes = o.budget;
  result.hard_limit_bytes = 2 * o.budget;
  result.faults_allowed = true;
  return result;
}

json measure(const options& o) {
  event_book happened;
  naming names;
  pool workers{settings_of(o), [&](const events::event& x) { happened.add(x); }};
  leaking_jobs jobs{o};
  // By then each kind of leak has come at least twice and is known by its stacks, and the kept
  // reports and series have reached their number.
  const auto warmup = std::min<uint64_t>(o.jobs / 2, 20'000);
  const auto look_every = std::max<uint64_t>(o.jobs / 80, 50);
  uint64_t good = 0, highest = 0;
  own_processes own;
  const auto start = clock::now();
  for (uint32_t i = 0; i < 4 * o.slots; ++i)
    jobs.submit(workers);
  for (uint64_t done = 0; done < o.jobs; ++done) {
    const auto x = workers.next();
    jobs.submit(workers);
    good += x.ok;
    if (const auto* fault = jobs.fault_of(x.job); fault != nullptr && x.ok)
      names.injected(x.slot, x.generation, fault->cause, fault->bytes);
    for (const auto& worker : happened.take_replaced())
      names.replaced(worker);
    if (done % 64 == 0)
      names.judge();
    highest = std::max(highest, x.private_bytes);
    if (done >= warmup && (done - warmup) % look_every == 0)
      own.look(workers);
  }
  const auto seconds = std::chrono::duration<double>(clock::now() - start).count();
  own.look_last();
  names.judge();
  json result{{"jobs", o.jobs},
              {"lost", workers.submitted() - workers.finished()},
              {"repeated", workers.repeated()},
              {"dead_letters", o.jobs - good},
              {"warmup_jobs", warmup},
              {"control", own.control.describe()},
              {"fork_server", own.fork_server.describe()},
              {"fork_servers", own.fork_servers},
              {"budget_bytes", o.budget},
              {"worker_highest_private_bytes", highest},
              {"within_budget", highest <= o.budget + largest_leak},
              {"replacements", workers.status().replacements},
              {"naming", names.describe()},
              {"jobs_per_second", static_cast<double>(o.jobs) / seconds},
              {"seconds", seconds}};
  happened.describe(result);
  return result;
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{"Does the service stay as it is while its workers leak for ever?\n"
               "Prints one JSON object; exit code 2 when a job was lost, the budget left, or one\n"
               "of our own processes grew by 2 MB or more after warm-up."};
  app.add_option("--jobs", o.jobs)->check(CLI::Range(500, 100'000'000))->capture_default_str();
  app.add_option("--phase", o.phase, "Jobs before the next kind of leak")
    ->check(CLI::Range(10, 10'000'000))
    ->capture_default_str();
  app.add_option("--fault-every", o.fault_every, "One job in so many leaks")
    ->check(CLI::Range(1, 1'000))
    ->capture_default_str();
  app.add_option("--slots", o.slots)->check(CLI::Range(1, 64))->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  keep_quiet();
  const auto x = measure(o);
  std::printf("%s\n", x.dump(2).c_str());
  constexpr int64_t most = 2'000'000;
  const auto flat = x.at("control").at("anonymous_growth_bytes") < most
                    && x.at("fork_server").at("anonymous_growth_bytes") < most;
  return x.at("lost") == 0 && x.at("within_budget") == true && flat ? 0 : 2;
}
