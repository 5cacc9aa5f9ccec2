#include "model/worker/worker_loop.hpp"

#include "base/bytes.hpp"
#include "base/descriptor.hpp"
#include "model/worker/faults.hpp"
#include "model/worker/gpu_memory.hpp"
#include "model/worker/heap_profiler.hpp"
#include "model/worker/kept_memory.hpp"
#include "model/worker/live_bytes.hpp"
#include "model/worker/memory_limit.hpp"
#include "model/worker/process_title.hpp"
#include "supervision/wire/socket.hpp"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

namespace ziyu::worker {

namespace {

// For the signal handlers.
volatile sig_atomic_t busy = 0, stop_requested = 0;
int control_socket = -1;

constexpr int exit_bad_frame = 3, exit_io = 4;

void on_terminate(int) {
  stop_requested = 1;
  if (busy == 0)
    ::_exit(0);
}

/// A worker that hangs must not outlive its control process either.
void on_alarm(int) {
  const auto saved = errno;
  pollfd entry{control_socket, 0, 0};
  if (::poll(&entry, 1, 0) > 0 && (entry.revents & (POLLHUP | POLLERR)) != 0)
    ::_exit(0);
  errno = saved;
}

void install_handlers() {
  struct sigaction action {};
  action.sa_flags = SA_RESTART;
  action.sa_handler = on_terminate;
  ::sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = on_alarm;
  ::sigaction(SIGALRM, &action, nullptr);
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  itimerval every_2_s{{2, 0}, {2, 0}};
  ::setitimer(ITIMER_REAL, &every_2_s, nullptr);
}

uint64_t us_since(std::chrono::steady_clock::time_point start) {
  return static_cast<uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start)
      .count());
}

/// Ends the worker when the control process is gone or does not take the bytes.
void send_or_exit(int fd, std::string_view bytes) {
  if (!write_all(fd, bytes)) // SIGPIPE is ignored
    ::_exit(errno == EPIPE || errno == ECONNRESET ? 0 : exit_io);
}

wire::answer to_answer(const expected<model::classification>& outcome) {
  wire::answer x;
  if (!outcome) {
    x.error_code = to_string(outcome.error().code);
    x.error_message = outcome.error().message;
    return x;
  }
  for (const auto& s : outcome->top_k)
    x.top_k.push_back({s.index, s.probability, s.label});
  x.width = outcome->width;
  x.height = outcome->height;
  x.decode_us = outcome->decode_us;
  x.preprocess_us = outcome->preprocess_us;
  x.inference_us = outcome->inference_us;
  return x;
}

class loop {
public:
  loop(unique_fd socket, model::classifier& by, const worker_settings& settings)
    : socket_(std::move(socket)), by_(by), settings_(settings),
      kept_(read_memory(), most_kept(settings.budget_bytes, limit_own_growth(settings))) {
    // The answer is encoded here, so that nothing of it is live when it is measured.
    answer_.resize(256 * 1024);
  }

  [[noreturn]] void run() {
    for (;;) {
      const auto before = counters_.live();
      const auto size = turn();
      if (size > 0) {
        // Everything of this job has been freed by now; only memory that faults keep remains.
        const auto delta = counters_.live() - before;
        wire::patch_memory(answer_.data(), size, delta, settle());
        send_or_exit(socket_.get(), {answer_.data(), size});
      }
      busy = 0;
      if (stop_requested != 0)
        ::_exit(0);
    }
  }

private:
  /// No job may bring this worker to its hard limit, however briefly: a larger allocation fails.
  /// Returns the private memory that the worker has now.
  static uint64_t limit_own_growth(const worker_settings& settings) {
    const auto own = read_private_bytes().value_or(0);
    if (settings.hard_limit_bytes > own
        && !limit_growth(settings.hard_limit_bytes - own - settings.hard_limit_bytes / 64))
      std::fprintf(stderr, "ziyu-worker %d: the kernel does not limit this worker's memory\n",
                   ::getpid());
    return own;
  }

  /// Runs after a job and returns memory that a large job has left.
  wire::memory_reading settle() {
    auto x = read_memory();
    if (!kept_.is_too_much(x))
      return x;
    counters_.give_back();
    x = read_memory();
    kept_.gave_back(x);
    return x;
  }

  wire::memory_reading read_memory() const {
    auto x = counters_.read();
    const auto gpu = read_gpu();
    x.gpu_allocated = gpu.allocated;
    x.gpu_reserved = gpu.reserved;
    return x;
  }

  /// Handles one frame; returns the size of the answer in `answer_`, 0 for none.
  size_t turn() {
    auto incoming = wire::receive_frame(socket_.get(), {}, wire::stream::to_worker);
    busy = 1;
    if (!incoming) {
      if (incoming.error().code == errc::unavailable)
        ::_exit(0);
      std::fprintf(stderr, "ziyu-worker %d: %s\n", ::getpid(), incoming.error().describe().c_str());
      ::_exit(exit_bad_frame);
    }
    if (auto batch = std::get_if<wire::batch>(&incoming->content))
      return on_batch(*batch);
    if (auto news = std::get_if<wire::assign>(&incoming->content)) {
      set_worker_title(news->slot, news->generation);
      slot_fault_ = {};
      if (settings_.faults_allowed)
        if (auto fault = wire::parse_fault(news->fault))
          slot_fault_ = *fault;
    } else if (auto request = std::get_if<wire::profile>(&incoming->content)) {
      on_profile(*request);
    } else if (std::holds_alternative<wire::trim>(incoming->content)) {
      return on_trim();
    } else if (std::holds_alternative<wire::stop>(incoming->content)) {
      ::_exit(0);
    }
    return 0;
  }

  size_t on_batch(const wire::batch& batch) {
    profiler_.begin_batch();
    auto outcomes = classify(batch);
    auto rubbish = false;
    for (size_t i = 0; i < batch.jobs.size(); ++i) {
      const auto fault = fault_of(batch.jobs[i]);
      if (auto done = faults_.inject(fault, by_, batch.jobs[i].image); !done)
        outcomes[i] = tl::unexpected<error>(done.error());
      rubbish = rubbish || fault.what == wire::fault_spec::kind::garbage;
    }
    profiler_.end_batch(batch.jobs.size());
    if (rubbish) {
      send_or_exit(socket_.get(), "\x7f not a frame \xff");
      return 0;
    }
    wire::result x;
    x.attempt_id = batch.attempt_id;
    for (const auto& outcome : outcomes)
      x.answers.push_back(to_answer(outcome));
    return put(x);
  }

  std::vector<expected<model::classification>> classify(const wire::batch& batch) {
    std::vector<std::string_view> images;
    images.reserve(batch.jobs.size());
    for (const auto& job : batch.jobs)
      images.emplace_back(job.image);
    was_refused_memory(); // refusals of an earlier batch
    auto outcomes = by_.classify(images, batch.top_k);
    const auto refused = was_refused_memory();
    for (size_t i = 0; i < outcomes.size(); ++i) {
      if (outcomes[i])
        continue;
      // In a batch another image may be the cause: alone it shows whether it is.
      if (images.size() > 1 && (refused || outcomes[i].error().code == errc::inference_failed))
        outcomes[i] = classify_alone(images[i], batch.top_k);
      else if (refused)
        outcomes[i] = too_much_memory(outcomes[i].error());
    }
    return outcomes;
  }

  expected<model::classification> classify_alone(std::string_view image, uint32_t top_k) {
    was_refused_memory();
    auto outcome = by_.classify(image, top_k);
    if (!outcome && was_refused_memory())
      return too_much_memory(outcome.error());
    return outcome;
  }

  tl::unexpected<error> too_much_memory(const error& why) const {
    return fail(errc::image_too_large,
                "the image takes more memory than a worker may have ("
                  + format_bytes(static_cast<int64_t>(settings_.hard_limit_bytes))
                  + ", memory.worker_hard_limit_bytes): " + why.message);
  }

  wire::fault_spec fault_of(const wire::job& job) const {
    if (settings_.faults_allowed && !job.fault.empty())
      if (auto own = wire::parse_fault(job.fault))
        return *own;
    return slot_fault_;
  }

  void on_profile(const wire::profile& request) {
    wire::profiled news;
    const auto start = std::chrono::steady_clock::now();
    news.what = request.what;
    news.live = read_memory().live;
    expected<void> done;
    if (request.what == wire::profile::start) {
      done = profiler_.start(request.log2_sample);
    } else if (request.what == wire::profile::dump) {
      if (auto dump = profiler_.dump()) {
        news.heap = std::move(dump->heap);
        news.maps = std::move(dump->maps);
      } else {
        done = tl::unexpected(dump.error());
      }
    } else {
      profiler_.stop();
    }
    if (!done)
      news.error_message = done.error().describe();
    news.jobs = profiler_.jobs();
    news.sampled_jobs = profiler_.sampled_jobs();
    news.duration_us = us_since(start);
    auto bytes = wire::encode(news);
    if (too_large(bytes)) {
      news.heap.clear();
      news.maps.clear();
      news.error_message = "the dump has " + std::to_string(bytes.size()) + " bytes: too many";
      bytes = wire::encode(news);
    }
    send_or_exit(socket_.get(), bytes);
  }

  /// The control process would refuse such an answer as a breach of the protocol.
  static bool too_large(std::string_view encoded) {
    return encoded.size() - wire::header_size
           > wire::max_body_of(static_cast<uint8_t>(encoded[3])); // its type
  }

  size_t on_trim() {
    wire::trimmed news;
    const auto start = std::chrono::steady_clock::now();
    news.before = read_memory();
    counters_.trim();
    empty_gpu_cache();
    news.after = read_memory();
    news.duration_us = us_since(start);
    const auto bytes = wire::encode(news);
    send_or_exit(socket_.get(), bytes);
    return 0;
  }

  size_t put(const wire::result& x) {
    auto bytes = wire::encode(x);
    if (too_large(bytes)) {
      wire::answer refused;
      refused.error_code = to_string(errc::inference_failed);
      refused.error_message = "the answer has " + std::to_string(bytes.size()) + " bytes: too many";
      wire::result instead;
      instead.attempt_id = x.attempt_id;
      instead.answers.assign(x.answers.size(), refused);
      bytes = wire::encode(instead);
    }
    if (bytes.size() > answer_.size()) {
      // Only with thousands of labels in top_k; otherwise the job would fail.
      answer_.resize(bytes.size() * 2);
    }
    std::memcpy(answer_.data(), bytes.data(), bytes.size());
    return bytes.size();
  }

  unique_fd socket_;
  model::classifier& by_;
  worker_settings settings_;
  memory_counters counters_;
  kept_memory kept_;
  heap_profiler profiler_;
  fault_injector faults_;
  wire::fault_spec slot_fault_;
  std::vector<char> answer_;
};

} // namespace

void run_worker(unique_fd socket, model::classifier& by, const worker_settings& settings,
                std::chrono::steady_clock::time_point forked) {
  control_socket = socket.get();
  install_handlers();
  set_process_title("ziyu-worker: standby", "ziyu-standby");
  const auto fd = socket.get();
  // The first inference after the fork copies shared pages.
  if (auto ok = by.touch(); !ok) {
    std::fprintf(stderr, "ziyu-worker %d: %s\n", ::getpid(), ok.error().describe().c_str());
    ::_exit(exit_io);
  }
  loop life{std::move(socket), by, settings};
  wire::ready news;
  news.pid = ::getpid();
  news.memory = memory_counters{}.read();
  news.warmup_us = us_since(forked);
  if (!wire::send_frame(fd, news))
    ::_exit(exit_io);
  life.run();
}

} // namespace ziyu::worker
