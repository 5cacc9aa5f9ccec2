#pragma once

#include "base/error.hpp"
#include "messaging/events/event.hpp"
#include "supervision/backoff.hpp"
#include "supervision/circuit_breaker.hpp"
#include "supervision/restart_intensity.hpp"
#include "supervision/wire/frames.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// Keeps one fork server running: starts it, starts another when it dies (later with each death),
/// and trusts it again when it has lived for a while. Workers live on without their fork server,
/// so the breaker opens only if the fork server keeps dying. Pure: returns orders, and is told
/// what happened. Not thread-safe.
///
/// down --start--> loading --ready--> up; each of the last two --closed--> down
class fork_server_keeper {
public:
  using clock = std::chrono::steady_clock;
  using milliseconds = std::chrono::milliseconds;

  struct settings {
    size_t restart_intensity = 10;
    milliseconds restart_period{60'000};
    milliseconds backoff_initial{50}, backoff_max{5'000};
    milliseconds start_timeout{60'000};
  };

  /// A change of the breaker's trigger for the fork server.
  struct trigger_change {
    bool raised = false;
    std::string reason;
    circuit_breaker::numbers values;
  };

  /// What the caller has to do.
  struct orders {
    std::vector<events::body> news; ///< To be emitted.
    std::optional<trigger_change> trigger;
    std::optional<milliseconds> restart_in; ///< Start another one after this pause.
    std::optional<error> give_up;           ///< The service can never work.
    bool kill = false;                      ///< The fork server hangs.
  };

  explicit fork_server_keeper(settings x);

  /// A fork server is being started. To be answered with `started` or `not_started`. Only while it
  /// is down.
  /// @param number Of the fork server, unique in the pool, from 1.
  void start(uint64_t number);
  orders started(int32_t pid, clock::time_point now);
  /// @param random Any 64-bit number.
  orders not_started(const error& why, uint64_t random);

  /// Only while it `is_loading`: the model is loaded. Returns whether it differs from the model
  /// before; false for the first one.
  bool ready(const wire::server_ready& news, clock::time_point now);

  /// The fork server cannot serve, and will end.
  orders failed(const wire::server_failed& news);

  /// It has ended.
  /// @param draining It was told to, or will not be needed any more.
  /// @param reason Empty: not known.
  orders closed(bool draining, const std::string& reason, clock::time_point now, uint64_t random);

  /// To be called every 50 ms or so.
  orders tick(clock::time_point now);

  /// Of the latest fork server; 0: none was started.
  uint64_t number() const { return number_; }
  int32_t pid() const { return pid_; } ///< Of the latest one.
  bool is_running() const { return phase_ != phase::down; }
  bool is_loading() const { return phase_ == phase::loading; }
  bool is_ready() const { return phase_ == phase::up; }
  bool was_ever_ready() const { return model_.has_value(); }

  /// Of the latest model that was loaded; null: none was.
  const wire::server_ready* model() const { return model_ ? &*model_ : nullptr; }

  /// Why no fork server serves, or empty.
  const std::string& trouble() const { return trouble_; }
  bool keeps_dying() const { return intensity_exceeded_; }

private:
  enum class phase : uint8_t { down, loading, up };

  orders note_death(clock::time_point now, uint64_t random);

  settings settings_;
  phase phase_ = phase::down;
  bool starting_ = false; ///< Between `start` and its answer.
  uint64_t number_ = 0;
  int32_t pid_ = 0;
  clock::time_point started_{}, ready_since_{};
  std::optional<wire::server_ready> model_;
  std::string trouble_;
  backoff backoff_;
  restart_intensity intensity_;
  bool troubled_ = false; ///< Its trigger is raised.
  bool intensity_exceeded_ = false;
};

} // namespace ziyu::supervision
