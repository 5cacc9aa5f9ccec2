#pragma once

#include "supervision/memory_probe.hpp"
#include "supervision/process.hpp"
#include "supervision/wire/socket.hpp"

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// A fork server and one of its workers, without actors: for tools that run a model alone.
///
///     auto session = worker_session::start({.executable = "ziyu-worker", .model = folder});
///     session->spawn();
///     auto answer = session->run(image);
///
/// All calls block, at most for the limits of the settings. The destructor ends both
/// processes; when our own process dies, they end by themselves. Move-only, one thread at a
/// time.
class worker_session {
public:
  struct settings {
    std::filesystem::path executable{}; ///< ziyu-worker
    std::filesystem::path model{};      ///< Folder `<name>/<version>`.
    bool faults_allowed = false;
    std::vector<std::string> limits{}; ///< More arguments, e.g., `--max-pixels`, `1000000`.
    std::chrono::milliseconds start_limit{60'000};  ///< Model loaded; worker ready.
    std::chrono::milliseconds answer_limit{30'000}; ///< A job, a trim, a dump.
    std::chrono::milliseconds grace{2'000};         ///< Between SIGTERM and SIGKILL.
    /// Called ten times a second during each wait; true ends the wait with
    /// `errc::stopping`.
    std::function<bool()> cancelled{};
  };

  /// Starts the fork server and waits until its model is loaded. Errors: the fork server's about
  /// the model (`model_missing`, …), `io`, `timeout`, `stopping`.
  static expected<worker_session> start(settings x);

  worker_session(worker_session&&) noexcept = default;
  worker_session& operator=(worker_session&&) = delete;
  ~worker_session();

  /// Ends the previous worker, forks another one and waits until it is ready.
  /// @param fault Injected into each of its jobs, if faults are allowed.
  expected<void> spawn(const std::string& fault = {});

  /// Runs one job. A job that ends in an error is a result, too. Errors: `worker_died` with how the
  /// worker ended and its last output, `deadline_exceeded`, `bad_frame`, `stopping`. After an error
  /// the worker must be spawned anew.
  expected<wire::lone_answer> run(std::string image, uint32_t top_k = 1);

  /// Errors as for `run`, and `io` with the worker's message.
  expected<wire::profiled> profile(wire::profile::action what, uint8_t log2_sample = 19);

  expected<wire::trimmed> trim();

  /// The worker's pages.
  expected<process_memory> memory() const { return read_process_memory(pid_); }

  const wire::server_ready& server() const { return server_news_; }
  const wire::ready& worker() const { return worker_news_; }
  int32_t server_pid() const { return server_.pid(); }
  int32_t pid() const { return pid_; } ///< Of the worker; 0: none.

  /// The first 64 KiB of what both processes have written to standard output and error.
  std::string output() const;

  /// Ends worker and fork server and reaps them; so does the destructor.
  void end();

private:
  explicit worker_session(settings x) : settings_(std::move(x)) {}

  void end_worker();
  expected<wire::frame> next(int fd, std::chrono::steady_clock::time_point deadline);
  template <class Frame>
  expected<Frame> ask(const wire::frame& x);
  error describe_loss(const error& x);

  settings settings_;
  unique_fd output_;
  child_process server_;
  unique_fd control_, socket_;
  wire::server_ready server_news_;
  wire::ready worker_news_;
  std::optional<uint64_t> kills_before_; ///< For lack of memory, in our cgroup, until the start.
  int32_t pid_ = 0;
  uint64_t spawned_ = 0, attempts_ = 0;
};

} // namespace ziyu::supervision
