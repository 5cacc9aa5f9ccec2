#pragma once

#include "tests/simulation/job_book.hpp"
#include "tests/support/fake_host.hpp"

#include <deque>
#include <functional>
#include <map>
#include <set>

namespace ziyu::simulation {

inline constexpr uint64_t mib = 1u << 20;
inline constexpr uint64_t baseline_bytes = 10 * mib;
inline constexpr uint64_t budget_bytes = 100 * mib;
inline constexpr uint64_t hard_limit_bytes = 150 * mib;
inline constexpr int64_t job_timeout_ms = 2'000;

/// The fork servers and the workers of one service: late messages, in virtual time, from processes
/// that leak, hang, report falsely and die as the seed decides.
class simulated_workers : public test::fake_host {
public:
  simulated_workers(timeline& time, job_book& jobs, caf::actor_system& sys);

  void release() override;

  // -- what the simulation does to them --------------------------------------------------------

  /// Called when a job kills the whole service.
  std::function<void()> on_deadly;
  /// Called when the worker of a slot begins a job, with the number of jobs in its batch.
  std::function<void(uint32_t slot, const job_truth& job, size_t batch)> on_begin;

  /// Called when that worker has answered the job, or is gone with it.
  std::function<void(uint32_t slot, const job_truth& job, bool answered)> on_end;

  /// Workers that ended since then, otherwise than in good order, without those that poison ended.
  size_t own_deaths_since(int64_t us) const;

  using fake_host::server_dies;
  /// SIGKILL from somebody else.
  void kill_any();
  /// The fork server lives, and does not fork.
  void server_hangs() { stuck_.insert(latest_server().number); }
  void set_pressure(double share);

  /// Healthy workers that serve a slot.
  size_t serving() const;
  /// The folders of the models that they serve.
  std::set<std::string> folders_served() const;

  uint64_t deaths = 0, spawned = 0;

  // -- the port -------------------------------------------------------------------------------

  expected<int32_t> start_server(uint64_t number, const std::string& folder,
                                 caf::actor supervisor) override;
  void stop_server(uint64_t number, bool kill) override;
  expected<caf::actor> spawn(uint64_t server, uint64_t id, caf::actor supervisor) override;
  void forget(uint64_t id) override;
  expected<uint64_t> explain(const supervision::leak_request& x) override;
  std::optional<expected<supervision::leak_report>> explained(uint64_t number) override;

private:
  /// What the simulation knows of a worker besides.
  struct conduct {
    bool stop_waits = false;
    uint64_t over_limit = 0, over_budget = 0; ///< Jobs that it was given although.
    int64_t over_limit_us = 0;                ///< Since when it is over its limit.
    std::vector<job_truth*> at_work;          ///< The jobs of its batch.
  };

  void load(fork_server& x) override;
  void server_dies(fork_server& of, const std::optional<error>& rubbish) override;
  void begin_fork(worker& x) override;
  void fork(worker& x) override;
  void shut(worker& x, const error* rubbish) override;
  void die(worker& x, int signal, int code = 0) override;
  void report_exit(const worker& x, int signal, int code) override;
  bool reads(const worker& x) override { return !x.hangs; }
  void take(worker& x, const wire::batch& batch) override;
  void lose(const wire::frame& x) override;
  void on_stop(worker& x) override;
  wire::answer answer_to(const wire::job& x) override;
  uint64_t give_back(worker& x) override;
  bool answers_dump() override;

  bool is_stuck(uint64_t server) const { return stuck_.contains(server); }
  /// Runs `what` after a while, if the worker still lives.
  void later(int64_t us, uint64_t id, std::function<void(worker&)> what);
  void misbehave_or_answer(worker& x, const wire::batch& batch);
  void answer_or_lie(worker& x, uint64_t attempt_id, const wire::batch& batch);
  /// The jobs of `x` have ended.
  void finish(const worker& x, bool answered);
  std::map<uint32_t, const worker*> latest() const; ///< By slot.
  void check_memory(const worker& x);
  void check_spawns();

  timeline& time_;
  job_book& jobs_;
  lifetime life_;
  std::map<uint64_t, conduct> conducts_;     ///< By worker.
  std::set<uint64_t> stuck_;                 ///< Fork servers.
  std::map<uint64_t, int64_t> explanations_; ///< Number, and when it is ready.
  uint64_t next_explanation_ = 1;
  std::deque<int64_t> spawns_us_;     ///< Of late.
  std::deque<int64_t> own_deaths_us_; ///< Of late.
};

} // namespace ziyu::simulation
