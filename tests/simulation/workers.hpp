#pragma once

#include "actors/worker_host.hpp"
#include "tests/simulation/job_book.hpp"

#include <caf/actor_system.hpp>

#include <deque>
#include <functional>
#include <map>

namespace ziyu::simulation {

inline constexpr uint64_t mib = 1u << 20;
inline constexpr uint64_t baseline_bytes = 10 * mib;
inline constexpr uint64_t budget_bytes = 100 * mib;
inline constexpr uint64_t hard_limit_bytes = 150 * mib;
inline constexpr int64_t job_timeout_ms = 2'000;

/// The fork server and the workers of one service: late messages, in virtual time, from processes
/// that leak, hang, report falsely and die as the seed decides.
class simulated_workers : public actors::worker_host,
                          public std::enable_shared_from_this<simulated_workers> {
public:
  simulated_workers(timeline& time, job_book& jobs, caf::actor_system& sys);

  /// Ends all of them, as when their service is gone, and drops all handles to actors.
  void release();

  // -- what the simulation does to them --------------------------------------------------------

  /// Called when a job kills the whole service.
  std::function<void()> on_deadly;
  /// Called when the worker of a slot begins a job, with the number of jobs in its batch.
  std::function<void(uint32_t slot, const job_truth& job, size_t batch)> on_begin;

  /// Called when that worker has answered the job, or is gone with it.
  std::function<void(uint32_t slot, const job_truth& job, bool answered)> on_end;

  /// Workers that ended since then, otherwise than in good order, without those that poison ended.
  size_t own_deaths_since(int64_t us) const;

  /// SIGKILL from somebody else.
  void kill_any();
  void server_dies();
  /// The fork server lives, and does not fork.
  void server_hangs() { server_stuck_ = true; }
  void set_pressure(double share) { pressure_ = share; }

  // -- what it asks -------------------------------------------------------------------------------

  size_t alive() const;
  /// Healthy workers that serve a slot.
  size_t serving() const;
  bool server_alive() const { return server_alive_; }

  // -- the port -------------------------------------------------------------------------------

  expected<int32_t> start_server(uint64_t number, caf::actor supervisor) override;
  void stop_server(bool kill) override;
  bool server_running() override { return server_alive_; }
  bool server_has_memory() override { return server_alive_; }
  expected<caf::actor> spawn(uint64_t id, caf::actor supervisor) override;
  void adopt(uint64_t id, int32_t pid) override;
  void signal(uint64_t id, int number) override;
  bool gone(uint64_t id) override;
  bool stopped(uint64_t) override { return false; }
  void forget(uint64_t id) override;
  expected<supervision::process_memory> read_memory(int32_t pid) override;
  expected<supervision::container_memory> read_container() override;
  std::optional<uint64_t> oom_kills() override { return std::nullopt; }
  expected<uint64_t> explain(const supervision::leak_request& x) override;
  std::optional<expected<supervision::leak_report>> explained(uint64_t number) override;
  void stop_explaining(uint64_t) override {}

  uint64_t deaths = 0, spawned = 0;

private:
  struct worker {
    uint64_t id = 0;
    int32_t pid = 0; ///< 0: not forked yet.
    caf::actor channel, supervisor, owner;
    bool closed = false, alive = false, adopted = false, ready = false, hangs = false;
    bool stop_waits = false; ///< In its socket.
    uint32_t slot = 0;
    uint64_t generation = 0; ///< 0: a standby.
    // Its character.
    uint64_t leak = 0, hoard = 0, hidden = 0;
    bool ignores_stop = false, dies_at_hand_over = false;
    // Its memory.
    uint64_t private_bytes = baseline_bytes, live = mib;
    uint64_t jobs = 0, over_limit = 0, over_budget = 0;
    int64_t over_limit_us = 0; ///< Since when it is over its limit.
    uint64_t sampled_from = 0;
    std::vector<job_truth*> at_work; ///< The jobs of its batch.
  };

  worker* find(uint64_t id);
  void say(wire::frame x);
  void tell(worker& x, wire::frame content);
  void fork(worker& x);
  void become_ready(worker& x);
  void close(worker& x, std::optional<error> rubbish = {});
  void die(worker& x, int signal, int code = 0);
  void receive(uint64_t id, const std::string& bytes);
  void begin(worker& x, const wire::batch& batch);
  void misbehave_or_answer(worker& x, const wire::batch& batch);
  void answer(worker& x, uint64_t attempt_id, const wire::batch& batch);
  /// Its jobs have ended.
  void finish(worker& x, bool answered);
  void on_profile(worker& x, const wire::profile& ask);
  void check_memory(worker& x);
  void check_spawns();
  static wire::memory_reading reading(const worker& x);
  int32_t server_pid() const { return static_cast<int32_t>(500 + server_); }

  timeline& time_;
  job_book& jobs_;
  caf::actor_system& sys_;
  lifetime life_;
  std::map<uint64_t, worker> workers_;
  std::vector<caf::actor> channels_; ///< Of all workers so far.
  caf::actor supervisor_;
  uint64_t server_ = 0;
  bool server_alive_ = false, server_loaded_ = false, server_stuck_ = false;
  lifetime server_life_;
  double pressure_ = 0.1;
  std::map<uint64_t, int64_t> explanations_; ///< Number, and when it is ready.
  uint64_t next_explanation_ = 1;
  std::deque<int64_t> spawns_us_;     ///< Of late.
  std::deque<int64_t> own_deaths_us_; ///< Of late.
};

} // namespace ziyu::simulation
