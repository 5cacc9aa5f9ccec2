#pragma once

#include "messaging/events/event.hpp"
#include "supervision/growth_history.hpp"
#include "supervision/healing_policy.hpp"
#include "supervision/leak_cause.hpp"
#include "supervision/pool/allocation_watch.hpp"
#include "supervision/pool/worker_life.hpp"
#include "supervision/pool/worker_memory.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// One worker process as the supervisor knows it: who it is, the phase of its life, its memory and
/// the verdict on it, whether it will be replaced, and how it ends. Pure: the caller passes the
/// time and does what follows. Not thread-safe.
class worker {
public:
  /// What it is born with.
  struct birth {
    uint64_t id = 0;      ///< Unique per process start; pids are not.
    uint64_t version = 0; ///< Number of its model version in the pool.
    std::shared_ptr<const events::model_version> model = {}; ///< The same for people; may be null.
    uint64_t server = 0;           ///< Number of the fork server that forks it.
    uint64_t server_anonymous = 0; ///< Anonymous memory of that server, bytes.
    double chance = 0;             ///< A random number, 0 to 1, for the jitter of its replacement.
  };

  worker(const birth& x, const leak_judge::settings& judge);

  // -- who it is ----------------------------------------------------------------------

  uint64_t id() const { return id_; }
  uint64_t version() const { return version_; }
  const std::shared_ptr<const events::model_version>& model() const { return model_; }
  uint64_t server() const { return server_; }
  int32_t pid() const { return pid_; } ///< 0 before it is forked.
  uint32_t slot() const { return slot_; }
  uint64_t generation() const { return generation_; } ///< 0: it was never given to a slot.
  int64_t serving_since_us() const { return serving_since_us_; }
  const worker_life& life() const { return life_; }

  void forked(int32_t pid);
  /// @pre `life` is starting. Its first reading follows, then `memory().note_baseline`.
  void ready(const wire::memory_reading& said);
  /// It is given to `slot`, whose earlier workers have shown what their caches hold.
  void link(uint32_t slot, uint64_t generation, const growth_history& history);
  /// Its slot has switched to it. It may have been told to stop, or have died, on its way.
  void serve(int64_t now_us);

  // -- its memory -----------------------------------------------------------------------

  worker_memory& memory() { return memory_; }
  const worker_memory& memory() const { return memory_; }
  allocation_watch& allocations() { return allocations_; }
  const allocation_watch& allocations() const { return allocations_; }
  const leak_judge::verdict& verdict() const { return judge_.last(); }
  bool wants_lone_jobs() const { return judge_.wants_lone_jobs(); }
  growth told() const { return told_; } ///< The verdict that the events know.

  /// Reports an attempt to the judge.
  void after_job(const memory_report& x);

  /// The events of a verdict that differs from the latest one that was told, and, when a confirmed
  /// growth has ended, its end goes into the history of its slot.
  std::vector<events::body> tell_verdict(uint64_t budget_bytes, growth_history& history);

  /// Its trim was enough: what was known of its growth is forgotten.
  void judge_anew(const growth_history& history);

  healing_policy::worker standing() const;
  /// @param model_bytes What loading the model takes.
  cause_evidence counters(uint64_t model_bytes) const;
  events::evidence evidence(uint64_t budget_bytes) const;

  // -- its replacement --------------------------------------------------------------------

  /// It will be replaced.
  /// @param at_budget Its next job may reach the budget.
  /// @param cause Empty: what its counters say.
  void doom(std::string reason, bool at_budget, std::string cause = {});
  bool is_doomed() const { return !doomed_.empty(); }
  const std::string& doomed() const { return doomed_; } ///< Why.
  const std::string& doom_cause() const { return doom_cause_; }
  /// Jobs that it may still do while it waits for its turn to be replaced.
  uint64_t jobs_before_replacement() const;

  /// Its next job may reach its budget: its slot takes no job.
  void hold(bool x) { held_ = x; }
  bool is_held() const { return held_; }
  /// True if it was held and may go on. At its budget it stays held until it is relieved.
  bool let_go();

  // -- its end ----------------------------------------------------------------------------

  /// Ends in good order; true if that is news. Its end is expected, unless it was killed before.
  bool end();
  /// It is killed for this reason; false if it was killed before.
  bool kill(error why);
  /// Its socket is closed; returns its phase before.
  worker_life::phase close();
  /// The kernel has killed it for lack of memory, or has not after all.
  void blame_kernel(error why);
  void acquit_kernel();
  /// The reason that its broken protocol gives, if it has no other.
  void blame(const error& why);
  void expect_end() { end_expected_ = true; }
  void end_after_dump() { ends_after_dump_ = true; }

  bool is_closed() const { return closed_; }
  bool ends_after_dump() const { return ends_after_dump_; }
  bool is_end_expected() const { return end_expected_; }         ///< No restart is counted.
  const std::optional<error>& killed() const { return killed_; } ///< By us or by the kernel.
  bool is_oom_killed() const { return oom_killed_; }

  /// Its process has ended, and nobody has said how. Counts the looks.
  uint32_t look_at_remains() { return ++looks_at_remains_; }
  /// Its grace is over: true for the first time.
  bool end_grace() { return !std::exchange(grace_over_, true); }

private:
  uint64_t id_, version_;
  std::shared_ptr<const events::model_version> model_;
  uint64_t server_;
  int32_t pid_ = 0;
  uint32_t slot_ = 0;
  uint64_t generation_ = 0;
  int64_t serving_since_us_ = 0;
  worker_life life_;

  worker_memory memory_;
  leak_judge::settings judging_;
  leak_judge judge_;
  growth told_ = growth::warming_up;
  allocation_watch allocations_;

  double chance_;
  std::string doomed_, doom_cause_;
  bool at_budget_ = false, held_ = false;

  bool closed_ = false, end_expected_ = false, ends_after_dump_ = false;
  std::optional<error> killed_;
  bool oom_killed_ = false, grace_over_ = false;
  uint32_t looks_at_remains_ = 0;
};

} // namespace ziyu::supervision
