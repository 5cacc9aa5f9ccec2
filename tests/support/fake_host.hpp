#pragma once

#include "actors/worker_host.hpp"

#include <caf/actor_system.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/send.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <set>
#include <vector>

#include <unistd.h>

namespace ziyu::test {

/// A fork server and workers that exist only as messages. By default all is well: the server loads
/// its model at once, workers are ready at once, each job is answered at once. A test can change
/// each of these. For a system on the test scheduler.
class fake_host : public actors::worker_host {
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

  explicit fake_host(caf::actor_system& sys) : sys_(sys) {}

  ~fake_host() override { release(); }

  /// Ends the channels and drops all handles, so that the actors can end.
  void release() {
    for (auto& [id, x] : workers) {
      caf::anon_send_exit(x.channel, caf::exit_reason::user_shutdown);
      x.channel = x.supervisor = x.owner = caf::actor{};
    }
    supervisor_ = caf::actor{};
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

  std::map<uint64_t, worker> workers; ///< All workers so far.
  uint64_t server = 0;                ///< Number of the latest.
  bool server_alive = false;
  size_t servers_started = 0, server_kills = 0;
  supervision::container_memory container{100, 1000, "fake"};
  std::optional<uint64_t> kernel_kills;                           ///< For lack of memory.
  bool unreadable = false;                                        ///< No memory can be read.
  std::vector<supervision::leak_request> requests;                ///< Requested explanations.
  std::map<uint64_t, expected<supervision::leak_report>> reports; ///< Their answers, by number.
  std::vector<uint64_t> given_up;
  bool answers_dumps = true;
  std::string sampling_failure;                             ///< Why workers cannot be sampled.
  uint64_t dump_us = 0;                                     ///< What workers say that a dump took.
  uint64_t own_bytes = 20u << 20, server_bytes = 90u << 20; ///< Private, of our own processes.
  uint64_t server_anonymous = 0; ///< As it reports, with its model loaded.

  void server_ready() {
    wire::server_ready x;
    x.pid = server_pid();
    x.model_name = "digits";
    x.model_version = "1";
    x.model_sha256 = sha256;
    x.precision = "fp32";
    x.classes = 10;
    x.memory.live = 3u << 20;
    x.memory.rss_anon = server_anonymous;
    say(x);
  }

  void say(wire::frame x) {
    caf::anon_send(supervisor_,
                   actors::server_frame{server, std::make_shared<const wire::frame>(std::move(x))});
  }

  void server_dies(std::optional<error> rubbish = {}) {
    if (!std::exchange(server_alive, false))
      return;
    caf::anon_send(supervisor_, actors::server_closed{server, std::move(rubbish)});
    // Sockets on their way to it are closed by the kernel.
    for (auto& [id, x] : workers)
      if (x.pid == 0)
        close(x);
  }

  void fork(worker& x) {
    x.pid = static_cast<int32_t>(1000 + x.id);
    x.alive = true;
    say(wire::spawned{x.id, x.pid, 900, ""});
    if (auto_ready)
      ready(x);
    for (const auto& early : x.received)
      if (std::holds_alternative<wire::stop>(early))
        die(x, 0);
  }

  void ready(worker& x) { send(x, wire::ready{x.pid, 4'000, reading(x)}); }

  /// The process ends: its socket closes, and the fork server reports its end.
  void die(worker& x, int signal, int code = 0) {
    if (!std::exchange(x.alive, false))
      return;
    close(x);
    if (server_alive)
      say(wire::exited{x.pid, code, signal, x.private_bytes});
  }

  void close(worker& x, std::optional<error> rubbish = {}) {
    if (std::exchange(x.closed, true))
      return;
    caf::anon_send(x.supervisor, actors::channel_closed{x.id, rubbish});
  }

  void send(worker& x, wire::frame content) {
    if (x.closed)
      return;
    const auto& to = std::holds_alternative<wire::result>(content) ? x.owner : x.supervisor;
    caf::anon_send(
      to, actors::channel_frame{x.id, std::make_shared<const wire::frame>(std::move(content))});
  }

  /// The answer to a batch, with its effect on the worker's memory.
  void answer(worker& x, const wire::batch& batch) {
    ++x.jobs;
    x.live += x.leak;
    x.private_bytes += x.leak + x.hoard;
    x.gpu_reserved += x.gpu_hoard;
    wire::answer each;
    each.top_k = {{3, 0.9f, "三"}, {8, 0.1f, "八"}};
    each.width = 12;
    each.height = 10;
    wire::result r;
    r.attempt_id = batch.attempt_id;
    r.answers.assign(batch.jobs.size(), each);
    r.delta_live = static_cast<int64_t>(x.leak);
    r.memory = reading(x);
    send(x, r);
  }

  void trim(worker& x) {
    x.trimmed = {};
    x.trimmed.before = reading(x);
    x.private_bytes -= std::exchange(x.trimmable, 0);
    if (x.gpu_empties)
      x.gpu_reserved = 0;
    x.trimmed.after = reading(x);
    x.trimmed.duration_us = 1'500;
  }

  void finish_trim(worker& x) { send(x, x.trimmed); }

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

  int32_t server_pid() const { return static_cast<int32_t>(500 + server); }

  static wire::memory_reading reading(const worker& x) {
    return {x.live, x.private_bytes + x.shared - shared_pages - x.hidden, 0, x.gpu_reserved};
  }

  /// Private memory that is not anonymous.
  static constexpr uint64_t shared_pages = 4096;

  // -- the port -------------------------------------------------------------------------------

  expected<int32_t> start_server(uint64_t number, caf::actor supervisor) override {
    if (start_failure)
      return tl::unexpected(*start_failure);
    EXPECT_FALSE(server_alive) << "a second fork server beside the first";
    server = number;
    supervisor_ = std::move(supervisor);
    server_alive = true;
    ++servers_started;
    if (auto_server)
      server_ready();
    return server_pid();
  }

  void stop_server(bool kill) override {
    server_kills += kill && server_alive;
    if (kill || !server_ignores_stop)
      server_dies();
  }

  bool server_running() override { return server_alive; }
  bool server_has_memory() override { return server_alive; }

  expected<caf::actor> spawn(uint64_t id, caf::actor supervisor) override {
    if (spawn_failure)
      return tl::unexpected(*spawn_failure);
    if (!server_alive)
      return fail(errc::unavailable, "there is no fork server");
    auto& x = workers[id];
    x.id = id;
    x.server = server;
    x.supervisor = x.owner = std::move(supervisor);
    x.channel = sys_.spawn([this, id](caf::event_based_actor*) -> caf::behavior {
      return {
        [this, id](const actors::outgoing_frame& bytes) { receive(workers.at(id), *bytes.bytes); },
        [this, id](actors::atom::own, const caf::actor& owner) {
          auto& me = workers.at(id);
          if (me.closes_at_own)
            die(me, SIGSEGV);
          if (!me.closed)
            me.owner = owner;
        },
      };
    });
    if (prepare)
      prepare(x);
    if (auto_fork)
      fork(x);
    return x.channel;
  }

  void adopt(uint64_t id, int32_t pid) override {
    EXPECT_EQ(workers.at(id).pid, pid);
    workers.at(id).adopted = true;
  }

  void signal(uint64_t id, int number) override {
    auto& x = workers.at(id);
    if (!x.adopted || !x.alive)
      return;
    x.signals.push_back(number);
    if (number == SIGKILL && !x.unkillable)
      die(x, SIGKILL);
  }

  bool stopped(uint64_t id) override { return workers.at(id).is_stopped; }

  std::optional<uint64_t> oom_kills() override { return kernel_kills; }

  bool gone(uint64_t id) override { return !workers.at(id).adopted || !workers.at(id).alive; }

  void forget(uint64_t id) override {
    EXPECT_FALSE(workers.at(id).alive) << "worker " << id << " was forgotten while it lives";
    workers.at(id).forgotten = true;
  }

  expected<supervision::process_memory> read_memory(int32_t pid) override {
    supervision::process_memory m;
    if (unreadable)
      return fail(errc::io, "Too many open files");
    if (pid == ::getpid()) {
      m.private_bytes = m.anonymous = own_bytes;
      return m;
    }
    if (pid == server_pid() && server_alive) {
      m.private_bytes = m.anonymous = server_bytes;
      return m;
    }
    for (auto& [id, x] : workers)
      if (x.pid == pid && x.alive) {
        const auto alone = !server_alive || x.server != server;
        m.private_bytes = x.private_bytes + (alone ? x.shared : 0) - x.swapped;
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
    auto i = reports.find(number);
    if (i == reports.end())
      return std::nullopt;
    auto report = std::move(i->second);
    reports.erase(i);
    return report;
  }

  void stop_explaining(uint64_t number) override { given_up.push_back(number); }

  expected<supervision::container_memory> read_container() override { return container; }

private:
  void profile(worker& x, const wire::profile& ask) {
    wire::profiled done;
    done.what = ask.what;
    done.live = x.live;
    done.error_message = sampling_failure;
    done.duration_us = dump_us;
    if (ask.what == wire::profile::start) {
      x.sampled_from = x.jobs;
    } else if (ask.what == wire::profile::dump) {
      if (!answers_dumps)
        return;
      done.jobs = done.sampled_jobs = x.jobs - x.sampled_from;
      done.heap = !x.heap.empty() ? x.heap : "heap of worker " + std::to_string(x.id);
      done.maps = "maps";
    }
    send(x, done);
  }

  void receive(worker& x, const std::string& bytes) {
    if (x.closed)
      return;
    wire::frame_reader reader;
    reader.feed(bytes);
    auto content = reader.next();
    ASSERT_TRUE(content && *content) << "an ill-formed frame for worker " << x.id;
    x.received.push_back(**content);
    if (!x.alive)
      return; // waits in the socket until it is forked
    if (auto news = std::get_if<wire::assign>(&**content)) {
      x.slot = news->slot;
      x.generation = news->generation;
      x.fault = news->fault;
    } else if (auto batch = std::get_if<wire::batch>(&**content)) {
      if (!(on_job && on_job(x, *batch)) && !x.hangs)
        answer(x, *batch);
    } else if (std::holds_alternative<wire::trim>(**content)) {
      trim(x);
      if (!x.slow_trim)
        finish_trim(x);
    } else if (auto ask = std::get_if<wire::profile>(&**content)) {
      profile(x, *ask);
    } else if (std::holds_alternative<wire::stop>(**content)) {
      if (!x.ignores_stop && !x.hangs)
        die(x, 0);
    }
  }

  caf::actor_system& sys_;
  caf::actor supervisor_;
};

} // namespace ziyu::test
