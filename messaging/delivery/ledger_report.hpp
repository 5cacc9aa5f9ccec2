#pragma once

#include "messaging/record.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::messaging {

/// What became of fetched records.
struct ledger_balance {
  uint64_t fetched = 0, published = 0, dead_lettered = 0, handed_back = 0, already_done = 0;
  uint64_t in_flight = 0; ///< queued + running + publishing
  /// fetched == published + dead_lettered + handed_back + already_done + in_flight
  bool balanced() const;
  ledger_balance& operator+=(const ledger_balance& x);
};

nlohmann::json to_json(const ledger_balance& x);

/// The account of an `offset_ledger`: the total since the start, and a row for each partition and
/// epoch, the latest epochs only.
struct ledger_report {
  /// Where an assigned partition stands.
  struct place {
    int64_t next_offset = -1;      ///< Lowest offset that is not finished; -1: not known.
    int64_t highest_fetched = -1;  ///< -1: none was fetched.
    int64_t committed_offset = -1; ///< -1: not known.
    size_t map_bytes = 0;          ///< Of the map in the latest commit.
    bool commit_pending = false;
    std::string map_ignored; ///< Why the map that was found was not used, or empty.
  };
  struct row {
    topic_partition where;
    uint64_t epoch = 0;
    ledger_balance sums;
    std::optional<place> now; ///< Nothing for an epoch that has ended.
  };
  ledger_balance total;
  std::vector<row> partitions;
};

/// As `GET /ledger` and the exit report show it.
nlohmann::json to_json(const ledger_report& x);

} // namespace ziyu::messaging
