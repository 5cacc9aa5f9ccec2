#pragma once

#include "actors/worker_host.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>

#include <algorithm>
#include <csignal>
#include <map>
#include <memory>
#include <vector>

#include <unistd.h>

namespace ziyu::test {

/// Fork servers and workers that exist only as messages, for unit tests and for the simulation,
/// which derives from it. By default all is well and at once: a server loads its model, a worker is
/// ready, a job is answered. A test changes each of these. What `worker_host` promises is tested
/// for this class and for the real host alike (worker_host_contract_test). On one thread.
class fake_host : public actors::worker_host, public std::enable_shared_from_this<fake_host> {
public:
  struct worker {
    uint64_t id = 0;
    int32_t pid = 0; ///< 0: not forked yet.
    caf::actor channel, supervisor, owner;
    bool closed = false;  ///< Its socket is closed.
    bool alive = false;   ///< Its process lives.
    bool adopted = false; ///< The host has a handle of it.
    bool forgotten = false;
    uint32_t slot = 0;
    uint64_t generation = 0; ///< 0: a standby.
    std::string fault;
    std::vector<wire::frame> received;
    std::vector<int> signals;
    uint64_t private_bytes = 10u << 20, live = 1u << 20;
    uint64_t leak = 0;  ///< Kept from each job.
    uint64_t hoard = 0; ///< The same, but counted as free by the allocator.
    uint64_t trimmable = 0;
    uint64_t hidden = 0;        ///< Memory that it does not report.
    uint64_t shared = 0;        ///< Shared with its fork server, until that ends: then its own.
    uint64_t swapped = 0;       ///< Of its private memory; counts as not resident.
    uint64_t server = 0;        ///< Number of its fork server.
    uint64_t gpu_reserved = 0;  ///< Cached by its GPU's allocator, held by no tensor.
    uint64_t gpu_hoard = 0;     ///< Cached of each job.
    bool gpu_empties = false;   ///< A trim gives the GPU's cache back.
    std::string heap;           ///< Its dump; empty: a text that is not a dump.
    bool hangs = false;         ///< Takes jobs, never answers.
    bool ignores_stop = false;  ///< Only a signal ends it.
    wire::trimmed trimmed;      ///< Its latest answer to a trim.
    bool slow_trim = false;     ///< Answers a trim only when told to (`finish_trim`).
    bool closes_at_own = false; ///< Its socket closes just before its slot listens.
    bool unkillable = false;    ///< Hangs in the kernel: no signal ends it.
    bool is_stopped = false;    ///< By SIGSTOP: it answers nothing, but SIGKILL ends it.
    size_t jobs = 0;
    uint64_t sampled_from = 0; ///< Its jobs when sampling began.
  };

  struct fork_server {
    uint64_t number = 0;
    std::string folder;
    caf::actor supervisor;
    bool alive = false;

    int32_t pid() const { return static_cast<int32_t>(500 + number); }
  };

  explicit fake_host(caf::actor_system& sys) : sys_(sys) {}

  /// Ends the channels and drops all handles, so that the actors can end.
  virtual void release() {
    for (auto& x : channels_)
      caf::anon_send_exit(x, caf::exit_reason::kill);
    channels_.clear();
    for (auto& [id, x] : workers) {
      x.alive = false;
      x.closed = true;
      x.channel = x.supervisor = x.owner = caf::actor{};
    }
    for (auto& [number, x] : servers) {
      x.alive = false;
      x.supervisor = caf::actor{};
    }
  }

  // -- what a test does to them -----------------------------------------------------------

  bool auto_server = true; ///< A started server has its model at once.
  bool auto_fork = true;   ///< A wanted worker is forked at once.
  bool auto_ready = true;  ///< A forked worker is ready at once.
  bool server_ignores_stop = false;
  std::string sha256 = "abc"; ///< Of the model that a fork server finds.
  std::optional<error> start_failure, spawn_failure;
  /// Applied to each new worker.
  std::function<void(worker&)> prepare;
  /// Instead of an answer, when it returns true.
  std::function<bool(worker&, const wire::batch&)> on_job;
  /// Called when a promise of the port's user is broken.
  std::function<void(const std::string& what)> complain;

  std::map<uint64_t, worker> workers;      ///< All workers so far.
  std::map<uint64_t, fork_server> servers; ///< All fork servers so far.
  size_t servers_started = 0, server_kills = 0;
  supervision::container_memory container{100, 1000, "fake"};
  std::optional<uint64_t> kernel_kills;                           ///< For lack of memory.
  bool unreadable = false;                                        ///< No memory can be read.
  std::vector<supervision::leak_request> requests;                ///< Requested explanations.
  std::map<uint64_t, expected<supervision::leak_report>> reports; ///< Their answers, by number.
  std::vector<uint64_t> given_up;
  bool answers_dumps = true;
  bool keeps_frames = true;                                 ///< Workers' `received`.
  std::string sampling_failure;                             ///< Why workers cannot be sampled.
  uint64_t dump_us = 0;                                     ///< What workers say that a dump took.
  uint64_t own_bytes = 20u << 20, server_bytes = 90u << 20; ///< Private, of our own processes.
  uint32_t max_batch = 1;        ///< Images that its model takes together: a power of two.
  std::string refused_packages;  ///< Why packages of its model do not serve.
  uint64_t server_anonymous = 0; ///< As it reports, with its model loaded.

  /// The fork server that was started last.
  fork_server& latest_server() { return servers.rbegin()->second; }
  bool server_alive() const {
    return std::any_of(servers.begin(), servers.end(),
                       [](const auto& x) { return x.second.alive; });
  }

  /// The latest fork server has its model, whose name and version its folder tells.
  void server_ready() { server_ready(latest_server()); }

  void server_ready(const fork_server& of) {
    const auto slash = of.folder.rfind('/');
    wire::server_ready x;
    x.pid = of.pid();
    x.model_name = "digits";
    x.model_version = slash == std::string::npos ? "1" : of.folder.substr(slash + 1);
    x.model_sha256 = sha256;
    x.precision = x.variant = "fp32";
    x.refused = refused_packages;
    x.classes = 10;
    for (uint32_t jobs = 1; jobs <= max_batch; jobs *= 2)
      x.batch_us.push_back(1'000 * jobs);
    x.memory.live = 3u << 20;
    x.memory.rss_anon = server_anonymous;
    say(of, x);
  }

  void say(wire::frame x) { say(latest_server(), std::move(x)); }

  void say(const fork_server& of, wire::frame x) {
    caf::anon_send(of.supervisor, actors::server_frame{
                                    of.number, std::make_shared<const wire::frame>(std::move(x))});
  }

  void server_dies() { server_dies(std::nullopt); }

  void server_dies(const std::optional<error>& rubbish) {
    if (!servers.empty())
      server_dies(latest_server(), rubbish);
  }

  virtual void server_dies(fork_server& of, const std::optional<error>& rubbish) {
    if (!std::exchange(of.alive, false))
      return;
    caf::anon_send(of.supervisor, actors::server_closed{of.number, rubbish});
    // Sockets on their way to it are closed by the kernel.
    for (auto& [id, x] : workers)
      if (x.pid == 0 && x.server == of.number)
        close(x);
  }

  virtual void fork(worker& x) {
    born(x);
    if (auto_ready && x.alive)
      ready(x);
  }

  void ready(worker& x) { send(x, wire::ready{x.pid, 4'000, reading(x)}); }

  /// The process ends: its socket closes, and the fork server reports its end.
  virtual void die(worker& x, int signal, int code = 0) {
    if (!std::exchange(x.alive, false))
      return;
    close(x);
    report_exit(x, signal, code);
  }

  void close(worker& x) { shut(x, nullptr); }
  void close(worker& x, const error& rubbish) { shut(x, &rubbish); }

  void send(worker& x, wire::frame content) {
    if (x.closed)
      return;
    const auto& to = std::holds_alternative<wire::result>(content) ? x.owner : x.supervisor;
    caf::anon_send(
      to, actors::channel_frame{x.id, std::make_shared<const wire::frame>(std::move(content))});
  }

  /// The answer to a batch, with its effect on the worker's memory.
  void answer(worker& x, const wire::batch& batch) { answer(x, batch.attempt_id, batch); }

  void answer(worker& x, uint64_t attempt_id, const wire::batch& batch) {
    ++x.jobs;
    x.live += x.leak;
    x.private_bytes += x.leak + x.hoard;
    x.gpu_reserved += x.gpu_hoard;
    wire::result r;
    r.attempt_id = attempt_id;
    for (const auto& job : batch.jobs)
      r.answers.push_back(answer_to(job));
    r.delta_live = static_cast<int64_t>(x.leak);
    r.memory = reading(x);
    send(x, r);
  }

  void trim(worker& x) {
    x.trimmed = {};
    x.trimmed.before = reading(x);
    x.private_bytes -= give_back(x);
    if (x.gpu_empties)
      x.gpu_reserved = 0;
    x.trimmed.after = reading(x);
    x.trimmed.duration_us = 1'500;
  }

  void finish_trim(worker& x) { send(x, x.trimmed); }

  worker* find(uint64_t id) {
    const auto i = workers.find(id);
    return i == workers.end() ? nullptr : &i->second;
  }

  /// The worker that serves `slot`: the latest live one that was assigned to it.
  worker* serving(uint32_t slot) {
    worker* found = nullptr;
    for (auto& [id, x] : workers)
      if (x.alive && x.generation > 0 && x.slot == slot
          && (!found || x.generation > found->generation))
        found = &x;
    return found;
  }

  size_t alive() const {
    return static_cast<size_t>(
      std::count_if(workers.begin(), workers.end(), [](const auto& x) { return x.second.alive; }));
  }

  static wire::memory_reading reading(const worker& x) {
    const auto anonymous = x.private_bytes + x.shared - shared_pages;
    return {x.live, anonymous - std::min(x.hidden, anonymous), 0, x.gpu_reserved};
  }

  /// Private memory that is not anonymous.
  static constexpr uint64_t shared_pages = 4096;

  // -- the port -------------------------------------------------------------------------------

  expected<int32_t> start_server(uint64_t number, const std::string& folder,
                                 caf::actor supervisor) override {
    if (start_failure)
      return tl::unexpected(*start_failure);
    if (servers.contains(number))
      complain("fork server " + std::to_string(number) + " is started twice");
    auto& x = servers[number];
    x = {number, folder, std::move(supervisor), true};
    ++servers_started;
    load(x);
    return x.pid();
  }

  void stop_server(uint64_t number, bool kill) override {
    const auto i = servers.find(number);
    if (i == servers.end())
      return;
    server_kills += kill && i->second.alive;
    if (kill || !server_ignores_stop)
      server_dies(i->second, std::nullopt);
  }

  bool server_running(uint64_t number) override { return is_server_alive(number); }
  bool server_has_memory(uint64_t number) override { return is_server_alive(number); }

  expected<caf::actor> spawn(uint64_t server, uint64_t id, caf::actor supervisor) override {
    if (spawn_failure)
      return tl::unexpected(*spawn_failure);
    if (!is_server_alive(server))
      return fail(errc::unavailable, "there is no fork server");
    auto& x = workers[id];
    x.id = id;
    x.server = server;
    x.supervisor = x.owner = std::move(supervisor);
    x.channel = sys_.spawn([me = shared_from_this(), id](caf::event_based_actor* self) {
      return channel_of(self, me, id);
    });
    channels_.push_back(x.channel);
    if (prepare)
      prepare(x);
    begin_fork(x);
    return x.channel;
  }

  void adopt(uint64_t id, int32_t pid) override {
    auto x = find(id);
    if (x != nullptr && x->pid == pid)
      x->adopted = true;
    else
      complain("worker " + std::to_string(id) + " is taken for pid " + std::to_string(pid));
  }

  void signal(uint64_t id, int number) override {
    auto x = find(id);
    if (x == nullptr || !x->adopted || !x->alive)
      return;
    x->signals.push_back(number);
    if (number == SIGSTOP)
      x->is_stopped = true;
    if (number == SIGKILL && !x->unkillable)
      die(*x, SIGKILL);
  }

  bool stopped(uint64_t id) override {
    const auto x = find(id);
    return x != nullptr && x->alive && x->is_stopped;
  }

  std::optional<uint64_t> oom_kills() override { return kernel_kills; }

  bool gone(uint64_t id) override {
    const auto x = find(id);
    return x == nullptr || !x->adopted || !x->alive;
  }

  void forget(uint64_t id) override {
    auto x = find(id);
    if (x == nullptr)
      return;
    if (x->alive)
      complain("worker " + std::to_string(id) + " is forgotten while it lives");
    x->forgotten = true;
  }

  expected<supervision::process_memory> read_memory(int32_t pid) override {
    supervision::process_memory m;
    if (unreadable)
      return fail(errc::io, "Too many open files");
    if (pid == ::getpid()) {
      m.private_bytes = m.anonymous = own_bytes;
      return m;
    }
    for (const auto& [number, x] : servers)
      if (x.pid() == pid && x.alive) {
        m.private_bytes = m.anonymous = server_bytes;
        return m;
      }
    for (const auto& [id, x] : workers)
      if (x.pid == pid && x.alive) {
        m.private_bytes = x.private_bytes + (is_server_alive(x.server) ? 0 : x.shared) - x.swapped;
        m.anonymous = x.private_bytes + x.shared - shared_pages - x.swapped;
        m.swapped = x.swapped;
        return m;
      }
    return fail(errc::io, "no such process");
  }

  expected<uint64_t> explain(const supervision::leak_request& x) override {
    requests.push_back(x);
    return requests.size();
  }

  std::optional<expected<supervision::leak_report>> explained(uint64_t number) override {
    if (number == 0 || number > requests.size())
      return fail(errc::unavailable, "there is no such explanation");
    const auto i = reports.find(number);
    if (i == reports.end())
      return std::nullopt;
    auto report = std::move(i->second);
    reports.erase(i);
    return report;
  }

  void stop_explaining(uint64_t number) override { given_up.push_back(number); }

  expected<supervision::container_memory> read_container() override { return container; }

protected:
  // -- what the simulation does otherwise, and later ------------------------------------------

  /// A fork server has begun to load its model.
  virtual void load(fork_server& x) {
    if (auto_server)
      server_ready(x);
  }

  /// A fork server has been asked for `x`.
  virtual void begin_fork(worker& x) {
    if (auto_fork)
      fork(x);
  }

  /// Whether a worker that lives reads what it is sent.
  virtual bool reads(const worker&) { return true; }

  /// A worker that lives gets a batch.
  virtual void take(worker& x, const wire::batch& batch) {
    if (!(on_job && on_job(x, batch)) && !x.hangs)
      answer(x, batch);
  }

  /// A frame that nobody reads any more.
  virtual void lose(const wire::frame&) {}

  virtual void on_stop(worker& x) {
    if (!x.ignores_stop && !x.hangs)
      die(x, 0);
  }

  virtual wire::answer answer_to(const wire::job&) {
    wire::answer x;
    x.top_k = {{3, 0.9f, "三"}, {8, 0.1f, "八"}};
    x.width = 12;
    x.height = 10;
    return x;
  }

  /// The bytes of private memory that a trim frees.
  virtual uint64_t give_back(worker& x) { return std::exchange(x.trimmable, 0); }

  virtual bool answers_dump() { return answers_dumps; }

  /// Its socket is closed. @param rubbish What it sent last; null: nothing.
  virtual void shut(worker& x, const error* rubbish) {
    if (std::exchange(x.closed, true))
      return;
    actors::channel_closed news{x.id, {}};
    if (rubbish != nullptr)
      news.reason = *rubbish;
    caf::anon_send(x.supervisor, news);
  }

  virtual void report_exit(const worker& x, int signal, int code) {
    if (is_server_alive(x.server))
      say(servers.at(x.server), wire::exited{x.pid, code, signal, x.private_bytes});
  }

  // -- what it needs for that -----------------------------------------------------------------

  bool is_server_alive(uint64_t number) const {
    const auto i = servers.find(number);
    return i != servers.end() && i->second.alive;
  }

  /// The process exists; frames that wait in its socket are read.
  void born(worker& x) {
    x.pid = static_cast<int32_t>(1000 + x.id);
    x.alive = true;
    say(servers.at(x.server), wire::spawned{x.id, x.pid, 900, ""});
    const auto is_stop = [](const wire::frame& f) { return std::holds_alternative<wire::stop>(f); };
    if (std::any_of(x.received.begin(), x.received.end(), is_stop) && !x.ignores_stop)
      die(x, 0);
  }

  caf::actor_system& sys_;

private:
  static caf::behavior channel_of(caf::event_based_actor* self,
                                  const std::shared_ptr<fake_host>& me, uint64_t id) {
    // It learns what comes too late.
    self->set_exit_handler([self](const caf::exit_msg& end) {
      if (end.reason == caf::exit_reason::kill)
        self->quit();
    });
    return {
      [me, id](const actors::outgoing_frame& bytes) { me->receive(id, *bytes.bytes); },
      [me, id](actors::atom::own, const caf::actor& owner) {
        auto x = me->find(id);
        if (x == nullptr)
          return;
        if (x->closes_at_own)
          me->die(*x, SIGSEGV);
        if (!x->closed)
          x->owner = owner;
      },
    };
  }

  void receive(uint64_t id, const std::string& bytes) {
    wire::frame_reader reader;
    reader.feed(bytes);
    auto content = reader.next();
    if (!content || !*content)
      return complain("an ill-formed frame for worker " + std::to_string(id));
    const auto& frame = **content;
    auto known = find(id);
    if (known == nullptr || known->closed)
      return lose(frame);
    auto& x = *known;
    if (keeps_frames || !x.alive)
      x.received.push_back(frame);
    if (!x.alive)
      return; // waits in the socket until it is forked
    if (!reads(x))
      return;
    if (auto news = std::get_if<wire::assign>(&frame)) {
      x.slot = news->slot;
      x.generation = news->generation;
      x.fault = news->fault;
    } else if (auto batch = std::get_if<wire::batch>(&frame)) {
      take(x, *batch);
    } else if (std::holds_alternative<wire::trim>(frame)) {
      trim(x);
      if (!x.slow_trim)
        finish_trim(x);
    } else if (auto ask = std::get_if<wire::profile>(&frame)) {
      profile(x, *ask);
    } else if (std::holds_alternative<wire::stop>(frame)) {
      on_stop(x);
    }
  }

  void profile(worker& x, const wire::profile& ask) {
    wire::profiled done;
    done.what = ask.what;
    done.live = x.live;
    done.error_message = sampling_failure;
    done.duration_us = dump_us;
    if (ask.what == wire::profile::start) {
      x.sampled_from = x.jobs;
    } else if (ask.what == wire::profile::dump) {
      if (!answers_dump())
        return;
      done.jobs = done.sampled_jobs = x.jobs - x.sampled_from;
      done.heap = !x.heap.empty() ? x.heap : "heap of worker " + std::to_string(x.id);
      done.maps = "maps";
    }
    send(x, done);
  }

  std::vector<caf::actor> channels_; ///< Of all workers so far.
};

} // namespace ziyu::test
