#pragma once

// The real actors and real worker processes, with Kafka replaced by memory. Several
// benchmarks share this code.

#include "actors/service_core.hpp"
#include "base/file.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include <condition_variable>
#include <cstdio>
#include <deque>
#include <mutex>

namespace ziyu::bench {

using clock = std::chrono::steady_clock;

constexpr auto patience = std::chrono::seconds{120};

/// Ends the program with a line on standard error.
[[noreturn]] void give_up(const std::string& why);

template <class T>
T need(expected<T> x) {
  if (!x)
    give_up(x.error().describe());
  if constexpr (!std::is_void_v<T>)
    return std::move(*x);
}

/// To be called first: no log lines, as deaths are the purpose, and no signal for a closed socket.
void keep_quiet();

/// The nearest-rank percentile of at least one value.
double percentile(std::vector<double> values, double p);

/// Private bytes of a process; 0 when it is gone.
uint64_t private_bytes_of(int32_t pid);

/// The model of the demo, in the sources of this build.
std::filesystem::path digits_model();

/// The settings of a pool; the defaults are those of a service.
struct pool_settings {
  std::filesystem::path model = digits_model();
  std::filesystem::path worker = executable_dir() / "ziyu-worker";
  uint32_t slots = 1, standbys = 1;
  uint32_t max_attempts = 3;
  bool healing = true;                       ///< If false, no worker is healed.
  bool explain = true;                       ///< If false, no worker is sampled either.
  uint64_t budget_bytes = uint64_t{1} << 30; ///< Of a worker's private memory.
  uint64_t hard_limit_bytes = uint64_t{2} << 30;
  std::chrono::milliseconds probe_interval{1'000}, explain_interval{60'000};
  size_t restart_intensity = 10;
  std::chrono::milliseconds restart_period{60'000};
  supervision::leak_judge::settings judge; ///< Its budget and workers are the pool's.
  bool faults_allowed = false;
  std::map<uint32_t, std::string> slot_faults;
  /// Called with each report of a job that the supervisor gets; by actors' threads, concurrently
  /// for several slots.
  std::function<void(const actors::job_done&)> on_job;
};

/// How a job ended.
struct outcome {
  clock::time_point when;
  uint64_t job = 0; ///< Its number, in the order of `submit`, from 0.
  bool ok = false;  ///< If false, it became a dead letter, and the rest is 0.
  uint32_t slot = 0;
  uint64_t generation = 0;
  int32_t pid = 0;
  int64_t delta_bytes = 0;
  uint64_t live_bytes = 0, private_bytes = 0;
};

/// A running service without Kafka. Only one thread may use it, except `on_event`.
class pool {
public:
  /// @param on_event Called with each event by an actor's thread, one call at a
  /// time.
  explicit pool(pool_settings settings, std::function<void(const events::event&)> on_event = {});

  /// Stops everything; all of its processes have ended after it.
  ~pool();

  /// Submits one more job. More than 64 without an outcome only make the queue long.
  void submit(std::shared_ptr<const std::string> image, std::string fault = {});

  /// The next outcome; ends the program when there is none within `patience`.
  outcome next();

  uint64_t submitted() const { return submitted_; }
  /// Jobs with an outcome, and outcomes beyond the first of a job.
  uint64_t finished() const, repeated() const;

  actors::supervisor_status status();
  /// As `GET /workers` shows them.
  nlohmann::json workers();

private:
  class memory_producer;
  struct system_config : caf::actor_system_config {
    system_config();
  };

  actors::service_settings to_service_settings();
  void on_published(const messaging::outgoing& x);

  const pool_settings settings_;
  std::function<void(const events::event&)> on_event_;
  uint64_t submitted_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<outcome> outcomes_;
  std::vector<bool> finished_; ///< By offset.
  uint64_t finished_jobs_ = 0, repeated_ = 0;

  // Destroyed after everything that the actors' threads use.
  system_config config_;
  caf::actor_system system_;
  std::optional<actors::service_core> core_;
  std::shared_ptr<actors::record_source> source_;
  std::vector<caf::actor> eavesdroppers_; ///< Filled by the supervisor while it starts.
};

} // namespace ziyu::bench
