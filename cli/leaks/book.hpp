#pragma once

#include "base/error.hpp"
#include "messaging/events/event.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::cli {

/// An event `leak_report`: one worker's leak, explained. A value that the event lacks stays 0 or
/// empty.
struct leak_story {
  int64_t time_ms = 0;
  std::string instance;
  events::leak_report what;
  nlohmann::json event; ///< The event as received.
};

/// A replacement that a report led to.
struct healing {
  int64_t time_ms = 0;
  events::worker_replaced what;
};

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

/// The sum of what replacements recovered.
uint64_t recovered_by(const std::vector<healing>& healed);

/// A short form of a report: id, time, worker, cause, growth, its top site, replacements.
nlohmann::json summary_json(const leak_story& x, const std::vector<healing>& healed);

/// The whole event's detail with time, instance and replacements.
nlohmann::json story_json(const leak_story& x, const std::vector<healing>& healed);

} // namespace ziyu::cli
