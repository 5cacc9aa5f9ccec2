#pragma once

#include "actors/worker_host.hpp"
#include "actors/worker_output.hpp"
#include "base/file.hpp"
#include "supervision/death_watch.hpp"
#include "supervision/leak_explainer.hpp"
#include "supervision/model_options.hpp"
#include "supervision/worker_handle.hpp"

#include <filesystem>
#include <map>

namespace ziyu::actors {

/// The settings of fork servers.
struct process_host_settings {
  std::filesystem::path executable; ///< ziyu-worker
  supervision::model_options model;
  uint64_t max_pixels = 0;
  uint64_t max_batch = 1;      ///< Images that a model may run together.
  uint64_t max_peak_bytes = 0; ///< Bound for decoding one image; 0: none.
  /// Private memory of each worker; 0: no bound.
  uint64_t budget_bytes = 0, hard_limit_bytes = 0;
  bool faults_allowed = false;
  uint64_t container_limit_bytes = 0; ///< 0: the cgroup's, else the host's.
  std::shared_ptr<metrics> stats;     ///< For lines of output that are dropped; may be null.
  /// The program that names call stacks: `ziyu`.
  std::filesystem::path explainer = executable_dir() / "ziyu";
  std::filesystem::path proc = "/proc"; ///< Where the memory of processes is read.
};

/// Real processes: a `ziyu-worker --fork-server` for each model version, and the workers that they
/// fork. They inherit only
/// the environment variables that `worker_environment` names. Their output is logged.
class process_host : public worker_host {
public:
  process_host(caf::actor_system& system, process_host_settings settings);
  ~process_host() override;

  expected<int32_t> start_server(uint64_t server, const std::string& folder,
                                 caf::actor supervisor) override;
  void stop_server(uint64_t server, bool kill) override;
  bool server_running(uint64_t server) override;
  bool server_has_memory(uint64_t server) override;
  expected<caf::actor> spawn(uint64_t server, uint64_t worker, caf::actor supervisor) override;
  void adopt(uint64_t worker, int32_t pid) override;
  void signal(uint64_t worker, int number) override;
  bool gone(uint64_t worker) override;
  bool stopped(uint64_t worker) override;
  void forget(uint64_t worker) override;
  expected<supervision::process_memory> read_memory(int32_t pid) override;
  expected<supervision::container_memory> read_container() override;
  std::optional<uint64_t> oom_kills() override;
  expected<uint64_t> explain(const supervision::leak_request& x) override;
  std::optional<expected<supervision::leak_report>> explained(uint64_t number) override;
  void stop_explaining(uint64_t number) override;

private:
  struct fork_server {
    supervision::child_process process;
    caf::actor control;
    unique_fd socket; ///< For frames with descriptors; CAF reads a duplicate.
  };

  fork_server* find(uint64_t server);
  expected<supervision::child_process> start_process(const std::string& folder, int control_fd);
  void forget_ended_servers();
  bool is_ours(int32_t pid);

  caf::actor_system& system_;
  process_host_settings settings_;
  std::shared_ptr<process_names> names_ = std::make_shared<process_names>();
  std::unique_ptr<worker_output> output_; ///< Exists from the first fork server on.
  std::map<uint64_t, fork_server>
    servers_; ///< By number. One that has ended goes at the next start.
  std::map<uint64_t, supervision::worker_handle> workers_;
  supervision::death_watch deaths_;
  std::map<uint64_t, supervision::leak_explainer> explainers_;
  uint64_t next_explainer_ = 1;
};

} // namespace ziyu::actors
