#include "actors/process_host.hpp"

#include "actors/channel.hpp"
#include "base/log.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fcntl.h>
#include <unistd.h>

namespace ziyu::actors {

process_host::process_host(caf::actor_system& system, process_host_settings settings)
  : system_(system), settings_(std::move(settings)) {
  // Workers outlive their fork server, and become our children then.
  supervision::become_subreaper();
  if (const auto trouble = supervision::pidfd_trouble(); !trouble.empty())
    spdlog::warn("pidfd_open is refused ({}): workers are told apart by their start times",
                 trouble);
  if (const auto trouble = supervision::death_watch::trouble(); !trouble.empty())
    spdlog::info("futex_waitv is refused ({}): the end of a worker shows when its socket closes",
                 trouble);
  if (const auto own = supervision::read_process_memory(::getpid(), settings_.proc); !own)
    spdlog::warn(
      "the memory of processes cannot be read: {}; healing relies on the workers' own reports",
      own.error().describe());
  else if (own->source != "smaps_rollup")
    spdlog::warn("/proc/PID/smaps_rollup is refused: private memory is read from {}", own->source);
}

process_host::~process_host() {
  for (auto& [number, x] : servers_)
    caf::anon_send_exit(x.control, caf::exit_reason::user_shutdown);
}

// -- fork servers -----------------------------------------------------------------------------

process_host::fork_server* process_host::find(uint64_t server) {
  const auto i = servers_.find(server);
  return i == servers_.end() ? nullptr : &i->second;
}

expected<supervision::child_process> process_host::start_process(const std::string& folder,
                                                                 int control_fd) {
  supervision::child_specification spec;
  spec.arguments = {
    settings_.executable.string(), "--fork-server", "--model", folder, "--control-fd", "3"};
  for (const auto& [name, value] : {std::pair{"--max-pixels", settings_.max_pixels},
                                    {"--max-batch", settings_.max_batch},
                                    {"--max-peak-bytes", settings_.max_peak_bytes},
                                    {"--budget-bytes", settings_.budget_bytes},
                                    {"--hard-limit-bytes", settings_.hard_limit_bytes}}) {
    if (value == 0)
      continue;
    spec.arguments.emplace_back(name);
    spec.arguments.push_back(std::to_string(value));
  }
  for (auto& x : settings_.model.arguments())
    spec.arguments.push_back(std::move(x));
  if (settings_.faults_allowed)
    spec.arguments.emplace_back("--faults-allowed");
  spec.control_fd = control_fd;
  spec.new_session = true; // a terminal's Ctrl-C is only for the control process
  spec.inherit = supervision::worker_environment();
  spec.no_stdin = true;
  if (!output_) {
    auto output = worker_output::start(names_, settings_.stats);
    if (!output)
      return tl::unexpected(output.error());
    output_ = std::move(*output);
  }
  spec.stdout_fd = spec.stderr_fd = output_->writer();
  return supervision::child_process::start(spec);
}

void process_host::forget_ended_servers() {
  for (auto i = servers_.begin(); i != servers_.end();) {
    if (i->second.process.running()) {
      ++i;
      continue;
    }
    caf::anon_send_exit(i->second.control, caf::exit_reason::user_shutdown);
    i = servers_.erase(i);
  }
}

expected<int32_t> process_host::start_server(uint64_t server, const std::string& folder,
                                             caf::actor supervisor) {
  forget_ended_servers();
  auto pair = wire::socket_pair();
  if (!pair)
    return tl::unexpected(pair.error());
  unique_fd duplicate{::fcntl(pair->first.get(), F_DUPFD_CLOEXEC, 0)};
  if (!duplicate)
    return fail(errc::io,
                std::string{"cannot duplicate the control socket: "} + std::strerror(errno));
  auto child = start_process(folder, pair->second.get());
  if (!child)
    return tl::unexpected(child.error());
  const auto pid = child->pid();
  names_->is_server(pid);
  servers_[server] = {
    .process = std::move(*child),
    .control = spawn_control(system_, server, std::move(duplicate), std::move(supervisor)),
    .socket = std::move(pair->first)};
  return pid;
}

void process_host::stop_server(uint64_t server, bool kill) {
  auto x = find(server);
  if (x == nullptr)
    return;
  if (kill)
    x->process.signal(SIGKILL);
  else if (!wire::send_frame(x->socket.get(), wire::stop{}))
    x->process.signal(SIGTERM);
}

bool process_host::server_running(uint64_t server) {
  auto x = find(server);
  return x != nullptr && x->process.running();
}

bool process_host::server_has_memory(uint64_t server) {
  auto x = find(server);
  if (x == nullptr)
    return false;
  // A process that ends has no memory of its own from the moment before its first page is released.
  // It can be reaped only when all pages are released.
  const auto pages = read_file("/proc/" + std::to_string(x->process.pid()) + "/statm");
  return pages && !pages->starts_with("0 ") && x->process.running();
}

// -- workers ----------------------------------------------------------------------------------

expected<caf::actor> process_host::spawn(uint64_t server, uint64_t worker, caf::actor supervisor) {
  auto x = find(server);
  if (x == nullptr)
    return fail(errc::unavailable, "there is no fork server");
  auto pair = wire::socket_pair();
  if (!pair)
    return tl::unexpected(pair.error());
  const auto socket = pair->second.get();
  auto life = wire::life_line::make();
  const auto ask = [&] {
    return life ? wire::send_frame(x->socket.get(), wire::spawn{worker}, {socket, life->page()})
                : wire::send_frame(x->socket.get(), wire::spawn{worker}, {socket});
  };
  if (auto ok = ask(); !ok)
    return tl::unexpected(ok.error());
  auto channel = spawn_channel(system_, worker, std::move(pair->first), std::move(supervisor),
                               [names = names_, worker](const wire::assign& news) {
                                 names->serves(worker, news.slot, news.generation);
                               });
  if (life)
    deaths_.watch(worker, std::move(*life), [channel] { caf::anon_send(channel, atom::ending{}); });
  return channel;
}

/// Whether `pid` is a child of a fork server or of ours. A worker may have told its pid before its
/// fork server did, and must not make us signal another process.
bool process_host::is_ours(int32_t pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  const auto name_end = text.rfind(')'); // the name before may contain anything
  char state = 0;
  int32_t parent = 0;
  if (name_end == std::string::npos
      || std::sscanf(text.c_str() + name_end + 1, " %c %d", &state, &parent) != 2)
    return false;
  return parent == ::getpid()
         || std::any_of(servers_.begin(), servers_.end(),
                        [parent](const auto& x) { return x.second.process.pid() == parent; });
}

void process_host::adopt(uint64_t worker, int32_t pid) {
  workers_.erase(worker);
  if (!is_ours(pid))
    return; // gone already, or a false pid
  names_->is_worker(worker, pid);
  // A worker that is gone already has no handle, which `gone` reads as ended.
  if (auto handle = supervision::worker_handle::open(pid))
    workers_[worker] = std::move(*handle);
}

void process_host::signal(uint64_t worker, int number) {
  if (auto i = workers_.find(worker); i != workers_.end())
    i->second.signal(number);
}

bool process_host::gone(uint64_t worker) {
  auto i = workers_.find(worker);
  return i == workers_.end() || i->second.ended();
}

bool process_host::stopped(uint64_t worker) {
  auto i = workers_.find(worker);
  return i != workers_.end() && i->second.stopped();
}

void process_host::forget(uint64_t worker) {
  auto i = workers_.find(worker);
  if (i == workers_.end())
    return;
  names_->is_gone(worker);
  deaths_.forget(worker);
  supervision::reap(i->second.pid());
  workers_.erase(i);
}

expected<supervision::process_memory> process_host::read_memory(int32_t pid) {
  return supervision::read_process_memory(pid, settings_.proc);
}

expected<supervision::container_memory> process_host::read_container() {
  return supervision::read_container_memory("/", settings_.container_limit_bytes);
}

std::optional<uint64_t> process_host::oom_kills() { return supervision::read_oom_kills(); }

expected<uint64_t> process_host::explain(const supervision::leak_request& x) {
  auto started = supervision::leak_explainer::start(settings_.explainer, x);
  if (!started)
    return tl::unexpected(started.error());
  explainers_.emplace(next_explainer_, std::move(*started));
  return next_explainer_++;
}

std::optional<expected<supervision::leak_report>> process_host::explained(uint64_t number) {
  auto i = explainers_.find(number);
  if (i == explainers_.end())
    return fail(errc::unavailable, "there is no such explanation");
  auto report = i->second.poll();
  if (report)
    explainers_.erase(i);
  return report;
}

void process_host::stop_explaining(uint64_t number) { explainers_.erase(number); }

} // namespace ziyu::actors
