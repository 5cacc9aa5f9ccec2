#include "supervision/worker_session.hpp"

#include <algorithm>
#include <csignal>
#include <cstdio>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace ziyu::supervision {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr size_t max_output = 64 * 1024;

/// A file in memory that takes at most `max_output` bytes, however much is written to
/// it.
unique_fd bounded_file() {
  unique_fd file{::memfd_create("ziyu-worker-output", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (file && ::ftruncate(file.get(), max_output) == 0)
    ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
  return file;
}

std::string last_line(std::string text) {
  while (text.ends_with('\n'))
    text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

/// How a process ended, whose cgroup had seen `kills_before` for lack of memory at its start.
std::string ending(const exit_status& how, std::optional<uint64_t> kills_before) {
  const auto kills = how.signal == SIGKILL ? read_oom_kills() : std::nullopt;
  return kills && *kills > kills_before.value_or(0)
           ? "killed by the kernel for lack of memory; the model needs more than there is"
           : how.describe();
}

} // namespace

expected<worker_session> worker_session::start(settings x) {
  worker_session result{std::move(x)};
  const auto& s = result.settings_;
  auto control = wire::socket_pair();
  if (!control)
    return tl::unexpected(control.error());
  result.output_ = bounded_file();
  child_specification spec;
  spec.arguments = {s.executable.string(), "--fork-server", "--model",
                    s.model.string(),      "--control-fd",  "3"};
  spec.arguments.insert(spec.arguments.end(), s.limits.begin(), s.limits.end());
  if (s.faults_allowed)
    spec.arguments.emplace_back("--faults-allowed");
  spec.control_fd = control->second.get();
  spec.new_session = true; // the control process handles Ctrl-C
  spec.inherit = worker_environment();
  spec.no_stdin = true;
  if (result.output_) {
    spec.stdout_fd = result.output_.get();
    spec.stderr_fd = result.output_.get();
  }
  result.kills_before_ = read_oom_kills();
  auto server = child_process::start(spec);
  if (!server)
    return tl::unexpected(server.error());
  result.server_ = std::move(*server);
  control->second.reset();
  result.control_ = std::move(control->first);
  auto news = result.next(result.control_.get(), clock::now() + s.start_limit);
  if (!news) {
    auto why = news.error();
    if (why.code == errc::unavailable) {
      const auto how = result.server_.wait(2s);
      why = {errc::io,
             "the fork server ended while it loaded the model " + s.model.string() + ": "
               + (how ? ending(*how, result.kills_before_) : std::string{"its socket is closed"})};
      if (const auto words = last_line(result.output()); !words.empty())
        why.message += ": " + words;
    } else if (why.code == errc::timeout) {
      const std::chrono::duration<double> limit = s.start_limit;
      char seconds[32];
      std::snprintf(seconds, sizeof seconds, "%g", limit.count());
      why.message = "the model " + s.model.string() + " was not loaded and warm within " + seconds
                    + " s: it is slow to load, or its forward does not end";
    }
    return tl::unexpected(why);
  }
  if (const auto* failed = std::get_if<wire::server_failed>(&*news)) {
    auto code = errc::io;
    from_string(failed->error_code, code);
    return fail(code, failed->error_message);
  }
  auto* ready = std::get_if<wire::server_ready>(&*news);
  if (ready == nullptr)
    return fail(errc::bad_frame, "the fork server did not say that it is ready");
  result.server_news_ = std::move(*ready);
  return result;
}

worker_session::~worker_session() { end(); }

expected<void> worker_session::spawn(const std::string& fault) {
  end_worker();
  auto sockets = wire::socket_pair();
  if (!sockets)
    return tl::unexpected(sockets.error());
  const auto deadline = clock::now() + settings_.start_limit;
  if (auto sent = wire::send_frame(control_.get(), wire::spawn{++spawned_},
                                   {sockets->second.get()});
      !sent)
    return fail(errc::unavailable, "the fork server is gone: " + sent.error().message);
  sockets->second.reset();
  while (pid_ == 0) {
    auto news = next(control_.get(), deadline);
    if (!news)
      return tl::unexpected(news.error());
    const auto* spawned = std::get_if<wire::spawned>(&*news);
    if (spawned == nullptr || spawned->spawn_id != spawned_)
      continue; // an earlier worker has ended
    if (spawned->pid == 0)
      return fail(errc::io, spawned->error_message);
    pid_ = spawned->pid;
  }
  socket_ = std::move(sockets->first);
  // The limit of an answer bounds sending, too.
  const auto limit = settings_.answer_limit.count();
  const timeval send_limit{limit / 1000, limit % 1000 * 1000};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDTIMEO, &send_limit, sizeof send_limit);
  auto news = next(socket_.get(), deadline);
  if (!news)
    return tl::unexpected(describe_loss(news.error()));
  const auto* ready = std::get_if<wire::ready>(&*news);
  if (ready == nullptr)
    return fail(errc::bad_frame, "the worker did not say that it is ready");
  worker_news_ = *ready;
  if (auto sent = wire::send_frame(socket_.get(), wire::assign{0, spawned_, fault}); !sent)
    return tl::unexpected(describe_loss(sent.error()));
  return {};
}

expected<wire::lone_answer> worker_session::run(std::string image, uint32_t top_k) {
  auto answer = ask<wire::result>(wire::batch_of_one(++attempts_, top_k, "", std::move(image)));
  if (!answer)
    return tl::unexpected(answer.error());
  if (answer->attempt_id != attempts_ || answer->answers.size() != 1)
    return fail(errc::bad_frame, "the worker answered another job");
  return wire::lone_answer::of(*answer);
}

expected<wire::profiled> worker_session::profile(wire::profile::action what, uint8_t log2_sample) {
  auto answer = ask<wire::profiled>(wire::profile{what, log2_sample});
  if (answer && !answer->error_message.empty())
    return fail(errc::io, "heap profile: " + answer->error_message);
  return answer;
}

expected<wire::trimmed> worker_session::trim() { return ask<wire::trimmed>(wire::trim{}); }

template <class Frame>
expected<Frame> worker_session::ask(const wire::frame& x) {
  if (!socket_)
    return fail(errc::unavailable, "there is no worker");
  if (auto sent = wire::send_frame(socket_.get(), x); !sent)
    return tl::unexpected(describe_loss(sent.error()));
  auto answer = next(socket_.get(), clock::now() + settings_.answer_limit);
  if (!answer)
    return tl::unexpected(describe_loss(answer.error()));
  auto* content = std::get_if<Frame>(&*answer);
  if (content == nullptr)
    return fail(errc::bad_frame, "the worker sent an unexpected frame");
  return std::move(*content);
}

expected<wire::frame> worker_session::next(int fd, clock::time_point deadline) {
  for (;;) {
    if (settings_.cancelled && settings_.cancelled())
      return fail(errc::stopping, "interrupted");
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
    if (left <= 0ms)
      return fail(errc::timeout, "no answer in time");
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(std::min(left, 100ms).count())) <= 0)
      continue;
    auto frame = wire::receive_frame(
      fd, left, fd == control_.get() ? wire::stream::from_server : wire::stream::from_worker);
    if (!frame)
      return tl::unexpected(frame.error());
    return std::move(frame->content);
  }
}

/// Why the worker does not answer. Ends the worker.
error worker_session::describe_loss(const error& x) {
  if (x.code == errc::timeout) {
    end_worker();
    return {errc::deadline_exceeded, "the worker did not answer in time"};
  }
  if (x.code != errc::unavailable && x.code != errc::io) {
    end_worker();
    return x;
  }
  error why{errc::worker_died, "the worker died"};
  const auto deadline = clock::now() + settings_.grace;
  for (;;) {
    auto news = next(control_.get(), deadline);
    if (!news) {
      if (news.error().code == errc::timeout)
        why = {errc::deadline_exceeded, "the worker does not communicate any more: " + x.message};
      break;
    }
    const auto* exited = std::get_if<wire::exited>(&*news);
    if (exited == nullptr || exited->pid != pid_)
      continue;
    why.message += ": " + ending({exited->exit_code, exited->signal}, kills_before_);
    pid_ = 0;
    break;
  }
  if (const auto words = last_line(output()); !words.empty())
    why.message += "; it said: " + words;
  end_worker();
  return why;
}

void worker_session::end_worker() {
  socket_.reset();
  if (pid_ == 0)
    return;
  // The fork server reaps it and reports that. The pid stays the worker's until then.
  auto patience = settings_.grace;
  for (const auto number : {SIGTERM, SIGKILL}) {
    ::kill(pid_, number);
    const auto deadline = clock::now() + patience;
    while (clock::now() < deadline) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
      auto news = wire::receive_frame(control_.get(), left, wire::stream::from_server);
      if (!news)
        break;
      const auto* exited = std::get_if<wire::exited>(&news->content);
      if (exited != nullptr && exited->pid == pid_) {
        pid_ = 0;
        return;
      }
    }
    patience = 10s;
  }
  pid_ = 0;
}

std::string worker_session::output() const {
  std::string text(max_output, '\0');
  const auto n = output_ ? ::pread(output_.get(), text.data(), text.size(), 0) : 0;
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  text.resize(text.find_last_not_of('\0') + 1);
  return text;
}

void worker_session::end() {
  if (server_.pid() == 0)
    return;
  end_worker();
  control_.reset();
  // When its socket closes the fork server ends by itself, unless it is still loading.
  if (!server_.wait(200ms))
    server_.end(settings_.grace);
  server_ = {};
}

} // namespace ziyu::supervision
