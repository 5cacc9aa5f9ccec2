#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ziyu::supervision {

enum class breaker_state : uint8_t { closed, open, half_open };
std::string_view to_string(breaker_state x) noexcept;

/// Stops intake while the service is in trouble.
///
/// closed → open when any trigger is raised; open → half_open when none is
/// raised and `open_for` has passed; half_open admits `probe_jobs` probes at most
/// and closes when so many have succeeded; a failed probe or a raised trigger
/// opens it again. Pure: the caller passes the time. Not thread-safe.
class circuit_breaker {
public:
  using clock = std::chrono::steady_clock;

  enum class trigger : uint8_t { memory, restart_intensity, publisher, fork_server };

  struct settings {
    double open_at = 0.8;     ///< Share of container memory that raises `memory`.
    double close_below = 0.7; ///< …and the one below which it is lowered.
    clock::duration open_for = std::chrono::seconds{2};
    uint32_t probe_jobs = 4;
  };

  struct transition {
    breaker_state from, to;
    std::string reason;
  };

  explicit circuit_breaker(settings x);

  /// Memory used as a share of the container's limit, with hysteresis.
  std::optional<transition> memory(double share, clock::time_point now);
  std::optional<transition> raise(trigger which, std::string reason, clock::time_point now);
  std::optional<transition> lower(trigger which, clock::time_point now);

  /// Time passes. Call at least once a second.
  std::optional<transition> tick(clock::time_point now);

  /// How many more jobs may start now: unlimited when closed, 0 when open.
  uint32_t admits() const;
  void started();
  /// Instead of `finished`: the job that was `started` could not begin at all, which
  /// proves nothing.
  void not_begun();
  std::optional<transition> finished(bool success, clock::time_point now);

  breaker_state state() const { return state_; }
  /// Why it is not closed: what the raised triggers say, else what opened it.
  std::string reason() const;

private:
  std::optional<transition> open(std::string reason, clock::time_point now);
  settings settings_;
  breaker_state state_ = breaker_state::closed;
  std::map<trigger, std::string> raised_; ///< With their reasons.
  std::string reason_;
  clock::time_point opened_{};
  uint32_t probes_running_ = 0, probes_succeeded_ = 0;
};

std::string_view to_string(circuit_breaker::trigger x) noexcept;

} // namespace ziyu::supervision
