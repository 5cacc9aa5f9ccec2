#include "actors/worker_output.hpp"

#include "actors/log_line.hpp"
#include "supervision/wire/socket.hpp"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::actors {

namespace {

using clock = std::chrono::steady_clock;

constexpr size_t read_size = 16 * 1024;

/// The pause between two checks for lines that are due.
constexpr int tick_ms = 200;

/// Bytes per read; the thread sleeps after it, so that a process that writes without end costs
/// little.
constexpr size_t bytes_per_turn = 128 * 1024;
constexpr int rest_ms = 50;

/// Bound for the names of processes that have ended.
constexpr size_t max_gone = 64;

} // namespace

// -- names ------------------------------------------------------------------------------------

void process_names::is_server(int32_t pid) {
  std::lock_guard guard{mutex_};
  by_pid_[pid] = 0;
}

void process_names::is_worker(uint64_t worker, int32_t pid) {
  std::lock_guard guard{mutex_};
  pids_[worker] = pid;
  by_pid_[pid] = worker;
}

void process_names::serves(uint64_t worker, uint32_t slot, uint64_t generation) {
  std::lock_guard guard{mutex_};
  workers_[worker] = {false, slot, generation};
}

void process_names::is_gone(uint64_t worker) {
  std::lock_guard guard{mutex_};
  gone_[goings_++] = worker;
  if (gone_.size() <= max_gone)
    return;
  const auto oldest = gone_.begin()->second;
  gone_.erase(gone_.begin());
  workers_.erase(oldest);
  if (const auto pid = pids_.find(oldest); pid != pids_.end()) {
    if (const auto i = by_pid_.find(pid->second); i != by_pid_.end() && i->second == oldest)
      by_pid_.erase(i);
    pids_.erase(pid);
  }
}

process_names::name process_names::find(int32_t pid) const {
  std::lock_guard guard{mutex_};
  const auto i = by_pid_.find(pid);
  if (i == by_pid_.end())
    return {};
  if (i->second == 0)
    return {true, {}, 0};
  const auto worker = workers_.find(i->second);
  return worker == workers_.end() ? name{} : worker->second;
}

// -- output -----------------------------------------------------------------------------------

expected<std::unique_ptr<worker_output>> worker_output::start(std::shared_ptr<process_names> names,
                                                              std::shared_ptr<metrics> stats) {
  auto pair = wire::socket_pair();
  if (!pair)
    return tl::unexpected(pair.error());
  const int yes = 1;
  if (::setsockopt(pair->first.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0)
    return fail(errc::io, std::string{"SO_PASSCRED: "} + std::strerror(errno));
  for (const auto* end : {&pair->first, &pair->second})
    ::fcntl(end->get(), F_SETFL, ::fcntl(end->get(), F_GETFL) | O_NONBLOCK);
  return std::unique_ptr<worker_output>{new worker_output{
    std::move(pair->first), std::move(pair->second), std::move(names), std::move(stats)}};
}

worker_output::worker_output(unique_fd reader, unique_fd writer,
                             std::shared_ptr<process_names> names, std::shared_ptr<metrics> stats)
  : reader_(std::move(reader)), writer_(std::move(writer)), names_(std::move(names)),
    stats_(std::move(stats)), thread_([this] { run(); }) {
  // nop
}

worker_output::~worker_output() {
  stopping_ = true;
  thread_.join();
}

void worker_output::run() {
  for (auto stopping = false; !stopping;) {
    stopping = stopping_;
    pollfd entry{reader_.get(), POLLIN, 0};
    ::poll(&entry, 1, stopping ? 0 : tick_ms);
    size_t bytes = 0;
    for (size_t n = 1; n > 0 && bytes < bytes_per_turn; bytes += n)
      n = read_some();
    log(lines_.tick(clock::now()));
    if (bytes >= bytes_per_turn && !stopping)
      ::poll(nullptr, 0, rest_ms);
  }
  log(lines_.finish());
}

/// Bytes of one process; 0 when there are none.
size_t worker_output::read_some() {
  char buffer[read_size];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
  iovec part{buffer, sizeof buffer};
  msghdr msg{};
  msg.msg_iov = &part;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof control;
  const auto n = ::recvmsg(reader_.get(), &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (n <= 0)
    return 0;
  ucred writer{};
  for (auto c = CMSG_FIRSTHDR(&msg); c != nullptr; c = CMSG_NXTHDR(&msg, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
      std::memcpy(&writer, CMSG_DATA(c), sizeof writer);
  log(lines_.feed(writer.pid, {buffer, static_cast<size_t>(n)}, clock::now()));
  return static_cast<size_t>(n);
}

void worker_output::log(const std::vector<supervision::output_line>& lines) {
  for (const auto& x : lines) {
    const auto who = names_->find(x.pid);
    const std::string from = who.is_server ? "fork_server" : who.slot ? "worker" : "standby";
    nlohmann::json detail{{"pid", x.pid}, {"process", from}};
    if (who.slot) {
      detail["slot"] = *who.slot;
      detail["generation"] = who.generation;
    }
    if (!x.text.empty())
      log_line(spdlog::level::info, from + " wrote", x.text, detail);
    if (x.dropped == 0)
      continue;
    if (stats_)
      stats_->output_dropped.Increment(static_cast<double>(x.dropped));
    detail["dropped_lines"] = x.dropped;
    log_line(spdlog::level::warn, from + " wrote", "more lines than are logged", detail);
  }
}

} // namespace ziyu::actors
