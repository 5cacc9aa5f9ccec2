#pragma once

#include "messaging/offset_map.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace ziyu::messaging {

/// What is to be committed for a partition. Latest wins.
struct commit_point {
  commit_point(int64_t next_offset = 0, std::string text = {}, uint64_t number = 0)
    : next(next_offset), metadata(std::move(text)), version(number) {}

  int64_t next;         ///< All offsets below are finished.
  std::string metadata; ///< The map of what is beyond (`encode_offset_map`); may be empty.
  uint64_t version;     ///< Version of the ledger's state; grows within an epoch.
  uint64_t epoch = 0;   ///< The epoch that it is for; 0: the present one.
  /// Of the leader that appended the last record below `next`; -1: not known. A broker compares it
  /// with its log, to tell whether that is the log that was read.
  int32_t leader_epoch = -1;
  bool urgent = false; ///< A record waits for the acknowledgement of this commit.
};

/// What was found committed for a partition when it was assigned.
struct committed_state {
  int64_t next = 0;
  offset_map map;
  std::string ignored;       ///< Why its metadata was not used, or empty.
  int32_t leader_epoch = -1; ///< As in `commit_point`.
};

/// The part of `x` that holds for a log that was cut off at `end` and then written on. Nothing if
/// no record below `x.next` is left.
std::optional<committed_state> within(committed_state x, int64_t end);

} // namespace ziyu::messaging
