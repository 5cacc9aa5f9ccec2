#pragma once

#include "messaging/events/event.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <deque>
#include <map>
#include <string>

namespace ziyu::bench {

/// Compares the cause of each replacement with the faults that were injected into the
/// replaced worker. Forgets each worker after the comparison, so that its own memory does not
/// grow. Not thread-safe.
class naming {
public:
  /// The worker of this slot and generation has done a job with a fault.
  /// @param cause As in `supervision::to_string(leak_cause)`.
  void injected(uint32_t slot, uint64_t generation, const std::string& cause, double bytes) {
    workers_[{slot, generation}][cause] += bytes;
    if (workers_.size() > max_workers)
      workers_.erase(workers_.begin()); // died without a replacement
  }

  void replaced(const events::worker_replaced& x) {
    pending_.push_back({{x.worker.slot, x.worker.generation}, x.cause});
  }

  /// Judges the replacements whose workers can do no more jobs. Call it when all outcomes so far
  /// have been noted.
  void judge() {
    for (; !pending_.empty(); pending_.pop_front()) {
      const auto& [who, cause] = pending_.front();
      const auto found = workers_.find(who);
      ++leaks_;
      named_ += cause != "unknown";
      double most = 0, all = 0;
      std::string truth = "none";
      if (found != workers_.end()) {
        for (const auto& [name, bytes] : found->second) {
          all += bytes;
          if (bytes > most) {
            most = bytes;
            truth = name;
          }
        }
        // Half of it, or more than any other: two faults may share a worker's life.
        const auto its = found->second.find(cause);
        right_ += cause == truth || (its != found->second.end() && its->second >= all / 2);
        workers_.erase(found);
      }
      ++table_[truth][cause];
    }
  }

  /// {"replacements", "precision", "recall", "confusion": {truth: {named: count}}}
  nlohmann::json describe() const {
    const auto ratio = [](uint64_t part, uint64_t of) {
      return of > 0 ? nlohmann::json(static_cast<double>(part) / static_cast<double>(of))
                    : nlohmann::json();
    };
    return {{"replacements", leaks_},
            {"precision", ratio(right_, named_)},
            {"recall", ratio(right_, leaks_)},
            {"confusion", table_}};
  }

  /// Adds the counts of another one.
  void add(const naming& x) {
    leaks_ += x.leaks_;
    named_ += x.named_;
    right_ += x.right_;
    for (const auto& [truth, row] : x.table_)
      for (const auto& [name, count] : row)
        table_[truth][name] += count;
  }

private:
  using worker = std::pair<uint32_t, uint64_t>; ///< Slot, generation.
  static constexpr size_t max_workers = 1'024;
  std::map<worker, std::map<std::string, double>> workers_;
  std::deque<std::pair<worker, std::string>> pending_;
  std::map<std::string, std::map<std::string, uint64_t>> table_;
  uint64_t leaks_ = 0, named_ = 0, right_ = 0;
};

} // namespace ziyu::bench
