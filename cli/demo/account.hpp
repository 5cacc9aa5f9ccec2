#pragma once

#include "base/error.hpp"
#include "messaging/events/event.hpp"
#include "messaging/result.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace ziyu::cli {

/// Keeps account of the jobs that were submitted to a service, and of their outcomes. Pure.
class demo_account {
public:
  struct replacement {
    uint32_t slot = 0;
    uint64_t generation = 0; ///< Of the worker that was replaced.
    std::string cause;
    uint64_t bytes_recovered = 0;
    double ms = 0;
  };
  /// One worker's private memory after one of its jobs.
  struct reading {
    uint64_t at_result = 0;
    uint64_t generation = 0;
    uint64_t private_bytes = 0;
  };

  /// Sets the number of jobs that will be submitted: `total` until there are more.
  void expect(uint64_t jobs) { expected_ = jobs; }
  /// A job with the label that its image shows.
  void submitted(const std::string& job_id, const std::string& label);
  void on_result(const messaging::result& x);
  void on_dead_letter(const std::string& job_id);
  void on_event(const events::event& x);

  bool complete() const { return open_.empty() && submitted_ >= expected_; }
  uint64_t answered() const { return results_ + dead_lettered_; }
  uint64_t total() const { return std::max(submitted_, expected_); }
  uint64_t results() const { return results_; }
  uint64_t dead_lettered() const { return dead_lettered_; }
  uint64_t lost() const { return open_.size(); }
  uint64_t duplicates() const { return duplicates_; }
  uint64_t correct() const { return correct_; }
  double accuracy() const;                    ///< Share of the results that are correct.
  uint64_t deaths() const { return deaths_; } ///< Workers that ended unasked.
  uint64_t peak_private_bytes() const;
  const std::vector<replacement>& replacements() const { return replacements_; }
  const std::map<uint32_t, std::vector<reading>>& by_slot() const { return by_slot_; }
  uint64_t results_of(uint32_t slot) const; ///< Jobs that this slot has done.
  const std::string& breaker() const { return breaker_; }

  /// The keys of `ziyu demo --report`.
  nlohmann::json report() const;

private:
  std::map<std::string, std::string> labels_;
  std::set<std::string> open_;
  uint64_t expected_ = 0, submitted_ = 0, results_ = 0, dead_lettered_ = 0, duplicates_ = 0,
           correct_ = 0, deaths_ = 0;
  std::vector<replacement> replacements_;
  std::map<uint32_t, std::vector<reading>> by_slot_;
  std::map<std::string, uint64_t> peaks_; ///< By "slot.generation".
  std::string breaker_ = "closed";
};

/// When the run without healing can be compared with the healed one. Pure.
struct comparison_goal {
  uint32_t slot = 0;          ///< The slot whose worker leaks.
  uint64_t results = 1;       ///< As many as the healed run gave this slot.
  uint64_t limit_bytes = 0;   ///< Bound for its private memory.
  uint64_t max_submitted = 0; ///< No more jobs than this are submitted for it.

  /// A worker has grown to the limit.
  bool at_limit(const demo_account& x) const { return x.peak_private_bytes() >= limit_bytes; }
  bool reached(const demo_account& x) const { return x.results_of(slot) >= results || at_limit(x); }
};

} // namespace ziyu::cli
