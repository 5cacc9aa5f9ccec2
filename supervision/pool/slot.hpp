#pragma once

#include "messaging/events/worker_events.hpp"
#include "supervision/growth_history.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace ziyu::supervision {

/// The replacement of a slot's worker, whatever its reason: a leak, a death, another version of the
/// model. Wanted, then switched, then done when the old worker is gone.
struct replacement {
  uint32_t slot = 0;
  uint64_t old_worker = 0;
  std::string cause, reason;
  int64_t decided_us = 0;
  uint64_t old_private = 0;
  events::evidence evidence; ///< Of the old worker, when it was decided.
  // When it switched:
  int64_t switched_us = 0;
  uint64_t new_generation = 0;
  int32_t new_pid = 0;
  uint64_t new_private = 0;

  uint64_t bytes_recovered() const {
    return old_private > new_private ? old_private - new_private : 0;
  }
  /// If it is that of `worker`: it had another reason than was thought.
  void correct(uint64_t worker, const std::string& other_cause, const std::string& other_reason);
  double ms() const { return static_cast<double>(switched_us - decided_us) / 1000; }
  events::worker_replaced to_event() const;
};

/// One slot of the pool: which worker serves it, which is on its way, whether its worker is to be
/// replaced, and what its earlier workers have shown. A transition that makes no sense ends the
/// process: a slot with two workers on their way could lose a job. Pure; not thread-safe.
class slot {
public:
  /// @param version Number of the model version that it wants to be served by.
  slot(uint32_t number, uint64_t version) : number_(number), version_(version) {}

  uint32_t number() const { return number_; }
  uint64_t version() const { return version_; }
  uint64_t generation() const { return generation_; } ///< Of the latest worker it was given.
  uint64_t worker() const { return worker_; }         ///< That serves it; 0: none.
  uint64_t linked() const { return linked_; }         ///< That is on its way to it; 0: none.
  bool is_empty() const { return worker_ == 0 && linked_ == 0; }
  const std::optional<replacement>& wanted() const { return wanted_; }
  growth_history& history() { return history_; }
  const growth_history& history() const { return history_; }

  /// From now on it wants workers of another version, whose caches are not known.
  void want_version(uint64_t version);

  /// Its worker is to be replaced. At most one replacement at a time.
  void want(replacement x);
  /// The death of `worker` had another reason than was thought.
  void correct(uint64_t worker, const std::string& cause, const std::string& reason);

  /// Gives it a worker, whose generation is returned. At most one is on its way.
  uint64_t link(uint64_t worker);
  /// The worker has died on its way. No effect if another one is on its way.
  void unlink(uint64_t worker);

  struct switched {
    uint64_t previous = 0; ///< That served it before; 0: none.
    std::optional<replacement> done;
  };
  /// Its linked worker serves from now on.
  switched switch_over();

  /// The worker that serves it has died.
  void lose_worker();

private:
  uint32_t number_;
  uint64_t version_;
  uint64_t generation_ = 0, worker_ = 0, linked_ = 0;
  std::optional<replacement> wanted_;
  growth_history history_;
};

} // namespace ziyu::supervision
