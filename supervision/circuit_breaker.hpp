#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ziyu::supervision {

enum class breaker_state : uint8_t { closed, open, half_open, forced_open, disabled };
std::string_view to_string(breaker_state x) noexcept;

/// The operator's mode for the breaker: it decides by itself, it stops intake in any case, or it
/// never stops intake.
enum class breaker_mode : uint8_t { automatic, open, disabled };
/// "auto", "open", "disable": as in the configuration, over HTTP and on the command line.
std::string_view to_string(breaker_mode x) noexcept;
/// False, and `to` unchanged, for any other word.
bool from_string(std::string_view word, breaker_mode& to) noexcept;

/// Stops intake while the service is in trouble.
///
/// closed → open when any trigger is raised, or when nothing succeeds: none of the latest
/// `error_min_jobs` jobs did. A single failed job says nothing about the service, since the job
/// itself may be at fault and any producer can send such jobs. open → half_open when no trigger has
/// been raised for `settle` and the open time has passed. half_open admits `probe_jobs` probes at a
/// time and closes when so many have succeeded. A raised trigger opens it again, and so do probes
/// of which none succeeds, by the rule for jobs. The open time begins at `open_for` and doubles, up
/// to `open_max`, with each opening that comes before the breaker was closed for `open_max`. Only
/// an operator sets forced_open and disabled, and only `set_mode` ends them; triggers are still
/// tracked meanwhile. Pure: the caller passes the time. Not thread-safe.
class circuit_breaker {
public:
  using clock = std::chrono::steady_clock;

  enum class trigger : uint8_t { memory, restart_intensity, publisher, fork_server, error_rate };

  struct settings {
    double open_at = 0.95;     ///< Share of container memory that raises `memory`.
    double close_below = 0.85; ///< …and the one below which it is lowered.
    clock::duration open_for = std::chrono::seconds{2};
    clock::duration open_max = std::chrono::seconds{10};
    /// A trigger that is raised and lowered again counts as raised until it stayed lowered so long.
    clock::duration settle = std::chrono::seconds{1};
    uint32_t probe_jobs = 4;
    /// Share of failed jobs that raises `error_rate`. 1: only when none succeeds; above: never.
    double error_rate = 1;
    uint32_t error_min_jobs = 20; ///< No judgement with fewer finished jobs.
    clock::duration error_window = std::chrono::seconds{30}; ///< For an `error_rate` < 1.
    breaker_mode mode = breaker_mode::automatic;
  };

  /// Values with units in their names, e.g. `memory_percent`.
  using numbers = std::map<std::string, double>;

  struct transition {
    breaker_state from, to;
    std::string cause; ///< A trigger's name, "probes", "settled" or "operator".
    std::string reason;
    numbers values;
  };

  /// Given out by `started` for a job: whether the job is a probe, and of which half-open time.
  struct ticket {
    uint64_t trial = 0; ///< 0: not a probe.
  };

  explicit circuit_breaker(settings x);

  /// Memory used as a share of the container's limit, with hysteresis.
  std::optional<transition> memory(double share, clock::time_point now);
  std::optional<transition> raise(trigger which, std::string reason, clock::time_point now,
                                  numbers values = {});
  std::optional<transition> lower(trigger which, clock::time_point now);
  bool is_raised(trigger which) const;

  /// @param why For the log: the operator's reason, or the source of the mode.
  std::optional<transition> set_mode(breaker_mode x, const std::string& why, clock::time_point now);

  /// Advances the time. Call at least once a second.
  std::optional<transition> tick(clock::time_point now);

  /// How many more jobs may start now: unlimited when closed or disabled, 0 when open.
  uint32_t admits() const;
  /// Whether intake must stop.
  bool holds() const;

  [[nodiscard]] ticket started();
  /// Instead of `finished`: the job that was `started` could not begin at all. That says nothing
  /// about the service.
  void not_begun(ticket of);
  /// A job has ended. Report each job once, at its first attempt or when it succeeds. A job that
  /// began before the present half-open time is no probe.
  std::optional<transition> finished(ticket of, bool success, clock::time_point now);

  breaker_state state() const { return state_; }
  breaker_mode mode() const { return settings_.mode; }
  /// Why it is not closed: the reasons of the raised triggers, else of the opening.
  std::string reason() const;
  /// The reasons of the raised triggers, in any state; empty: none is raised.
  std::string trouble() const;
  /// The least time that it stays open, at its present or next opening.
  clock::duration open_time() const;

private:
  struct raised_trigger {
    std::string reason;
    std::optional<clock::time_point> lowered; ///< When it was lowered.
  };

  transition change(breaker_state to, std::string cause, std::string reason, numbers values);
  std::optional<transition> open(std::string cause, std::string reason, clock::time_point now,
                                 numbers values);
  void forget_settled(clock::time_point now);
  std::optional<transition> count(bool success, clock::time_point now);

  settings settings_;
  breaker_state state_ = breaker_state::closed;
  std::map<trigger, raised_trigger> raised_;
  std::string reason_;
  clock::time_point opened_{};
  std::optional<clock::time_point> closed_; ///< When it closed after an opening.
  uint32_t openings_ = 0;                   ///< Openings in a row, for the open time.
  uint64_t trial_ = 0;                      ///< Number of the latest half-open time.
  uint32_t probes_running_ = 0, probes_succeeded_ = 0, probes_failed_ = 0;
  std::deque<std::pair<clock::time_point, bool>> outcomes_; ///< When; whether it succeeded.
  uint32_t failures_ = 0;                                   ///< Among them.
  uint32_t failures_in_a_row_ = 0;                          ///< Failures since the last success.
};

std::string_view to_string(circuit_breaker::trigger x) noexcept;

} // namespace ziyu::supervision
