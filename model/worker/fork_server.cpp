#include "model/worker/fork_server.hpp"

#include "base/own_process.hpp"
#include "model/precision_choice.hpp"
#include "model/worker/live_bytes.hpp"
#include "model/worker/process_title.hpp"
#include "supervision/wire/life_line.hpp"
#include "supervision/wire/socket.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>

#include <poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::worker {

namespace {

using clock = std::chrono::steady_clock;

constexpr int exit_no_model = 2, exit_bad_frame = 3, exit_io = 4;
constexpr auto grace = std::chrono::milliseconds{500};

uint64_t us_since(clock::time_point start) {
  return static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - start).count());
}

/// Holds the worker's life line until the process ends. Nothing: it cannot, and the end shows when
/// the socket closes.
std::optional<wire::life_line> hold_life_line(unique_fd page) {
  auto line = wire::life_line::attach(std::move(page));
  if (!line)
    return std::nullopt;
  line->hold();
  return std::move(*line);
}

class fork_server {
public:
  fork_server(model::classifier by, unique_fd control, const worker_settings& settings)
    : by_(std::move(by)), control_(std::move(control)), settings_(settings) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    signals_ = unique_fd{::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)};
    ::signal(SIGINT, SIG_IGN);
  }

  int run() {
    for (;;) {
      pollfd entries[] = {{control_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
      if (::poll(entries, 2, -1) < 0) {
        if (errno == EINTR)
          continue;
        return exit_io;
      }
      if (entries[1].revents != 0 && drain_signals()) {
        end_workers();
        return 0;
      }
      reap();
      if (entries[0].revents == 0)
        continue;
      auto incoming = wire::receive_frame(control_.get(), {}, wire::stream::to_server);
      if (!incoming) {
        end_workers();
        if (incoming.error().code == errc::unavailable)
          return 0; // the control process has ended
        std::fprintf(stderr, "ziyu-worker (fork server): %s\n",
                     incoming.error().describe().c_str());
        return exit_bad_frame;
      }
      if (auto request = std::get_if<wire::spawn>(&incoming->content))
        spawn(*request, std::move(incoming->fds));
      else if (std::holds_alternative<wire::stop>(incoming->content))
        return 0;
    }
  }

private:
  /// True if this process was told to end.
  bool drain_signals() {
    auto terminate = false;
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info)
      terminate = terminate || info.ssi_signo == SIGTERM;
    return terminate;
  }

  void spawn(const wire::spawn& request, std::vector<unique_fd> fds) {
    wire::spawned news;
    news.spawn_id = request.spawn_id;
    const auto start = clock::now();
    const auto threads = count_threads();
    if (fds.empty()) {
      news.error_message = "no socket came with the request";
    } else if (threads != 1) {
      news.error_message = "the fork server has " + std::to_string(threads)
                           + " threads; forking would be unsafe";
    } else if (const auto pid = ::fork(); pid == 0) {
      control_.reset();
      signals_.reset();
      const auto life = fds.size() > 1 ? hold_life_line(std::move(fds[1])) : std::nullopt;
      run_worker(std::move(fds[0]), by_, settings_, start);
    } else if (pid < 0) {
      news.error_message = std::string{"fork: "} + std::strerror(errno);
    } else {
      workers_.insert(pid);
      news.pid = pid;
      news.fork_us = us_since(start);
    }
    fds.clear();
    if (!wire::send_frame(control_.get(), news))
      return; // the next turn sees the closed socket
  }

  void reap() {
    for (;;) {
      auto status = 0;
      rusage usage{};
      const auto pid = ::wait4(-1, &status, WNOHANG, &usage);
      if (pid <= 0)
        return;
      workers_.erase(pid);
      wire::exited news;
      news.pid = pid;
      news.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
      news.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
      news.max_rss = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
      static_cast<void>(wire::send_frame(control_.get(), news));
    }
  }

  void end_workers() {
    for (auto pid : workers_)
      ::kill(pid, SIGTERM);
    const auto deadline = clock::now() + grace;
    while (!workers_.empty()) {
      reap();
      if (clock::now() >= deadline) {
        for (auto pid : workers_)
          ::kill(pid, SIGKILL);
      }
      pollfd entry{signals_.get(), POLLIN, 0};
      ::poll(&entry, 1, 20);
      drain_signals();
    }
  }

  model::classifier by_;
  unique_fd control_, signals_;
  worker_settings settings_;
  std::set<pid_t> workers_;
};

/// What the log says of the choice: of each variant its time and why it does not serve.
void print_choice(const model::chosen_model& x) {
  const auto path = x.by.model().folder().path.string();
  if (x.was_kept)
    std::fprintf(stderr, "ziyu-worker (fork server): %s: measured at an earlier start:\n",
                 path.c_str());
  for (const auto& each : x.variants) {
    const auto agreement = each.agreement
                             ? ", agreement " + std::to_string(*each.agreement * 100) + " %"
                             : std::string{};
    std::fprintf(stderr, "ziyu-worker (fork server): %s: %s: %.0f us an image%s: %s\n",
                 path.c_str(), each.name.c_str(), each.image_us(), agreement.c_str(),
                 each.name == x.name    ? "chosen"
                 : each.why_not.empty() ? "the reference"
                                        : each.why_not.c_str());
  }
  if (x.decode.agreed)
    std::fprintf(stderr,
                 "ziyu-worker (fork server): %s: JPEGs: exact %.0f us an image, reduced %.0f us: "
                 "%s\n",
                 path.c_str(), x.decode.exact_us, x.decode.reduced_us,
                 x.decode.why_not.empty() ? "reduced is chosen" : x.decode.why_not.c_str());
  for (const auto& why : x.refused)
    std::fprintf(stderr, "ziyu-worker (fork server): warning: %s: %s\n", path.c_str(), why.c_str());
}

/// The image of the warm-up is the smallest one: limits that leave no room for it leave none at
/// all.
error with_advice(error x) {
  if (x.code == errc::image_too_large)
    x.message +=
      ": no job would have room; raise memory.worker_hard_limit_bytes or jobs.max_pixels";
  return x;
}

} // namespace

int run_fork_server(const std::filesystem::path& folder, const model::decode_limits& limits,
                    int control_fd, const worker_settings& settings) {
  const auto start = clock::now();
  set_process_name("ziyu-forkserver"); // its command line names its role
  unique_fd control{control_fd};
  model::use_one_thread();
  auto chosen = model::choose_model(folder, limits, settings.model);
  if (chosen)
    if (auto ok = chosen->by.warm_up(); !ok)
      chosen = tl::unexpected(with_advice(ok.error()));
  if (!chosen) {
    const auto& why = chosen.error();
    static_cast<void>(wire::send_frame(
      control.get(), wire::server_failed{std::string{to_string(why.code)}, why.message}));
    std::fprintf(stderr, "ziyu-worker (fork server): %s\n", why.describe().c_str());
    return exit_no_model;
  }
  print_choice(*chosen);
  auto* by = &chosen->by;
  if (auto shared = by->model().share_weights(); !shared)
    by->model().warn("each worker gets a copy of the weights: " + shared.error().message);
  wire::server_ready news;
  const auto& m = by->model().folder();
  for (const auto& x : m.warnings)
    std::fprintf(stderr, "ziyu-worker (fork server): warning: %s: %s\n", m.path.c_str(), x.c_str());
  news.pid = ::getpid();
  news.model_name = m.name;
  news.model_version = m.version;
  news.model_sha256 = m.sha256;
  news.precision = m.precision;
  news.decode = to_string(chosen->decode.how);
  news.classes = by->model().classes();
  news.variant = chosen->name;
  for (const auto& why : chosen->refused)
    news.refused += (news.refused.empty() ? "" : "; ") + why;
  news.batch_us = by->model().measure_batches(settings.model.most_rows);
  memory_counters{}.trim(); // what TorchScript had, which a package stands in for
  news.memory = memory_counters{}.read();
  news.load_us = us_since(start);
  if (!wire::send_frame(control.get(), news))
    return exit_io;
  return fork_server{std::move(*by), std::move(control), settings}.run();
}

} // namespace ziyu::worker
