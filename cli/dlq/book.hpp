#pragma once

#include "base/error.hpp"
#include "configs/config.hpp"
#include "messaging/dead_letter.hpp"

#include <chrono>
#include <map>
#include <set>
#include <vector>

namespace ziyu::cli {

/// The dead letters that a command applies to. An empty set means any.
struct dead_letter_filter {
  std::set<std::string> codes, jobs;
  std::set<std::pair<int32_t, int64_t>> records; ///< Partition and offset in the dead-letter topic.
  std::optional<int64_t> since_ms, until_ms;     ///< When they became dead letters; [since, until).

  bool empty() const;
  bool matches(const messaging::record& x, const messaging::dead_letter& letter) const;
};

/// A moment: milliseconds since 1970 (11 digits or more), a time before now ("90s", "15m",
/// "2h", "7d"), or "2026-11-25", "2026-11-25T10:30", "2026-11-25T10:30:05" in local time, in
/// UTC with a "Z" behind. `invalid_usage` for anything else.
expected<int64_t> parse_moment(const std::string& text, int64_t now_ms);

/// "PARTITION-OFFSET", or "TOPIC-PARTITION-OFFSET" of that topic.
expected<std::pair<int32_t, int64_t>> parse_record(const std::string& text,
                                                   const std::string& topic);

/// The content of the dead-letter topic without payloads: the dead letters that match a filter, and
/// their marks. Pure. Keeps the headers of the matching ones in memory.
class dead_letter_book {
public:
  struct letter {
    messaging::record head; ///< Without its value.
    messaging::dead_letter what;
    std::optional<size_t> payload_bytes;
    std::optional<messaging::dead_letter_mark> mark; ///< Set when it has been dealt with.
  };

  explicit dead_letter_book(dead_letter_filter which) : which_(std::move(which)) {}

  /// Takes the next record of a partition, in its order.
  void add(const messaging::record& x);

  /// In the order of their time.
  std::vector<letter> letters(bool with_handled) const;

  size_t handled() const; ///< Matching dead letters with a mark.

private:
  dead_letter_filter which_;
  std::map<messaging::record_id, letter> letters_;
};

/// Reads the whole dead-letter topic of a configuration as it is now; errors as `read_all`.
expected<dead_letter_book> read_book(const configs::config& c, dead_letter_filter which,
                                     std::chrono::milliseconds limit);

} // namespace ziyu::cli
