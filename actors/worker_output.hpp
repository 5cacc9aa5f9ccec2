#pragma once

#include "actors/metrics.hpp"
#include "base/descriptor.hpp"
#include "base/error.hpp"
#include "supervision/output_lines.hpp"

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace ziyu::actors {

/// Names processes for the log. Thread-safe.
class process_names {
public:
  struct name {
    bool is_server = false;
    std::optional<uint32_t> slot; ///< None: a standby.
    uint64_t generation = 0;
  };

  void is_server(int32_t pid);
  void is_worker(uint64_t worker, int32_t pid);
  /// @param worker May not be known yet.
  void serves(uint64_t worker, uint32_t slot, uint64_t generation);
  /// The worker has ended. Its last output may still arrive, so its name stays for a while.
  void is_gone(uint64_t worker);

  name find(int32_t pid) const;

private:
  mutable std::mutex mutex_;
  std::map<uint64_t, int32_t> pids_;   ///< By worker.
  std::map<uint64_t, name> workers_;   ///< By worker.
  std::map<int32_t, uint64_t> by_pid_; ///< Worker by pid; 0: a fork server.
  std::map<uint64_t, uint64_t> gone_;  ///< Worker by order of ending.
  uint64_t goings_ = 0;
};

/// Logs the fork server's and the workers' standard output and error, line by line, with slot,
/// generation and pid. The kernel (SO_PASSCRED), not the writer, tells who wrote a line. A writer
/// never waits: output that comes faster than it is read is lost.
class worker_output {
public:
  static expected<std::unique_ptr<worker_output>> start(std::shared_ptr<process_names> names,
                                                        std::shared_ptr<metrics> stats);

  /// Logs the remaining output.
  ~worker_output();

  /// The write end, for a child's descriptors 1 and 2.
  int writer() const { return writer_.get(); }

private:
  worker_output(unique_fd reader, unique_fd writer, std::shared_ptr<process_names> names,
                std::shared_ptr<metrics> stats);
  void run();
  size_t read_some();
  void log(const std::vector<supervision::output_line>& lines);

  unique_fd reader_, writer_;
  std::shared_ptr<process_names> names_;
  std::shared_ptr<metrics> stats_; ///< May be null.
  supervision::output_lines lines_;
  std::atomic<bool> stopping_{false};
  std::thread thread_; ///< Uses all of the above.
};

} // namespace ziyu::actors
