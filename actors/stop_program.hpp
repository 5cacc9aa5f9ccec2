#pragma once

#include "actors/intake.hpp"
#include "actors/protocol.hpp"
#include "actors/record_source.hpp"
#include "base/clock.hpp"
#include "messaging/events/service_events.hpp"

#include <caf/event_based_actor.hpp>
#include <caf/stateful_actor.hpp>

#include <functional>
#include <memory>
#include <vector>

namespace ziyu::actors {

/// A stage of a stop, and its time in ms.
struct stop_stage {
  enum class kind : uint8_t {
    gate,    ///< No more records are taken; those that the source has sent have arrived.
    drain,   ///< Running jobs end, their results are published; waiting jobs are handed back.
    flush,   ///< The publisher has nothing more under way.
    commit,  ///< What is finished is committed.
    close,   ///< The consumer leaves its group.
    workers, ///< Workers and fork server end.
  };
  kind what = kind::gate;
  uint64_t limit_ms = 0;
};

std::string_view to_string(stop_stage::kind x) noexcept;

/// The time of each stage, in ms.
struct stop_limits {
  uint64_t gate_ms = 0, drain_ms = 0, flush_ms = 0, commit_ms = 0, close_ms = 0, workers_ms = 0;
};

/// The stages that take an instance out of its group, in the only order that loses and repeats
/// nothing: jobs end before their results are flushed, results are out before offsets are
/// committed, and offsets are committed while the partitions are still ours.
std::vector<stop_stage> stages_out_of_group(const stop_limits& x);

/// The stages of a stop: out of the group first, workers last.
std::vector<stop_stage> stages_of_stop(const stop_limits& x);

/// What a stop has to do with.
struct stop_program_settings {
  std::vector<stop_stage> stages;
  std::shared_ptr<intake> credit;
  dispatcher_actor dispatcher;
  publisher_actor publisher;
  supervisor_actor supervisor;
  /// Null: the stages commit and close are left out.
  std::shared_ptr<record_source> source;
  environment* env = nullptr; ///< Never null; outlives the actor.
  /// Called after each stage, with what the event will say of it; may be null.
  std::function<void(const events::stop_stages::stage&)> on_stage;
  /// Called once, after the last stage, when the source is let go.
  std::function<void(events::stop_stages)> on_end;
};

class stop_program_state;

/// The behavior of the STOP PROGRAM, an actor that runs its stages one after the other and ends. A
/// stage that has not answered two seconds after its limit counts as not done, and the next one
/// begins: a stop always ends.
caf::behavior stop_program(caf::stateful_actor<stop_program_state>* self,
                           stop_program_settings settings);

class stop_program_state {
public:
  static inline const char* name = "stop_program";

private:
  friend caf::behavior stop_program(caf::stateful_actor<stop_program_state>*,
                                    stop_program_settings);

  /// Begins the present stage, or ends.
  void begin_stage();
  void run(const stop_stage& x);
  /// Stage number `which` has ended; ignored if it is not the present one.
  void finish(uint64_t which, bool done);
  template <class Actor>
  void ask(const Actor& whom, uint64_t limit_ms);
  void commit(uint64_t limit_ms);
  void close(uint64_t limit_ms);
  /// Hands the answer of another thread to this actor.
  std::function<void(bool)> answer();

  caf::stateful_actor<stop_program_state>* self_ = nullptr;
  stop_program_settings settings_;
  uint64_t present_ = 0; ///< Index into the stages.
  int64_t begun_us_ = 0;
  events::stop_stages report_;
};

} // namespace ziyu::actors
