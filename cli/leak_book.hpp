#pragma once

#include "base/error.hpp"
#include "supervision/call_stack.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::cli {

/// Where a worker's memory grew, as a report shows it.
struct reported_site {
  int64_t bytes = 0, objects = 0;
  double share = 0; ///< Of all growth, 0..1.
  uint32_t threads = 0;
  std::string cause;
  supervision::code_location responsible;
  supervision::call_stack stack;      ///< The relevant part, innermost first.
  supervision::call_stack full_stack; ///< All of it.
};

/// One job of a series.
struct reported_job {
  uint64_t job = 0;
  int64_t delta_bytes = 0, live_bytes = 0, private_bytes = 0;
};

/// Jobs until the budget.
struct reported_forecast {
  uint64_t jobs_left = 0, earliest = 0;
  std::optional<uint64_t> latest;
};

/// The rows of {"columns": […], "rows": [[…], …]}, as in events and /workers, by the names of the
/// columns. Missing values are 0.
std::vector<reported_job> series_from(const nlohmann::json& x);

/// An event `leak_report`: one worker's leak, explained. A value that the event lacks stays 0 or
/// empty.
struct leak_story {
  std::string id; ///< slot.generation-random
  int64_t time_ms = 0;
  std::string instance, cause, verdict, reason;
  uint32_t slot = 0;
  uint64_t generation = 0;
  int64_t pid = 0;
  int64_t growth_bytes = 0;
  uint64_t growth_jobs = 0;
  double bytes_per_job = 0, lower = 0, upper = 0;
  std::optional<reported_forecast> left; ///< Empty: the growth does not lead to the budget.
  int64_t budget_bytes = 0, baseline_bytes = 0, private_bytes = 0, peak_private_bytes = 0;
  uint64_t sample_bytes = 0; ///< 0: no heap profile.
  int64_t estimated_bytes = 0;
  bool calibrated = false;
  std::vector<reported_site> sites; ///< The largest first.
  std::string flame;                ///< Folded stacks.
  std::vector<reported_job> series;
  double explain_ms = 0;
  nlohmann::json event; ///< The event as received.
};

/// A replacement that a report led to.
struct healing {
  int64_t time_ms = 0;
  uint32_t slot = 0;
  uint64_t generation = 0, new_generation = 0;
  std::string report, cause, reason;
  int64_t bytes_recovered = 0;
  double ms = 0;
};

/// An event of the type `leak_report`; `unknown_schema` when it is none.
expected<leak_story> story_from_json(const nlohmann::json& event);

/// The reports among events, and the replacements that healed them. Pure.
class leak_book {
public:
  /// Takes an event; other JSON is ignored. Events may come in any order (each partition has its
  /// own). Of two reports with one id the later one counts.
  void add(const nlohmann::json& event);

  /// By time, the newest last.
  const std::vector<leak_story>& stories() const { return stories_; }

  /// The replacements that name report `id`, by time.
  std::vector<healing> healings_of(std::string_view id) const;

  /// The report with this id, or the only one whose id begins like this; "0.3" is the third
  /// generation of slot 0, not also the thirtieth. The error lists the matching reports.
  expected<const leak_story*> find(std::string_view id) const;

private:
  std::vector<leak_story> stories_;
  std::vector<healing> healings_;
};

/// A short form of a report: id, time, worker, cause, growth, its top site, replacements.
nlohmann::json summary_json(const leak_story& x, const std::vector<healing>& healed);

/// The whole event's detail with time, instance and replacements.
nlohmann::json story_json(const leak_story& x, const std::vector<healing>& healed);

} // namespace ziyu::cli
