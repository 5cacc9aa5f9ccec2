#pragma once

#include "cli/kafka/connection.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <functional>
#include <string>

namespace ziyu::cli {

/// The options of `ziyu results` and `ziyu events`: a topic is read from its beginning or end until
/// enough records were seen.
struct follow_options {
  connection_options connection;
  std::string from;     ///< "beginning" or "end"; empty: the default of the command, "end".
  uint64_t count = 0;   ///< Records to show; 0: no limit.
  double timeout_s = 0; ///< Ends after so long; 0: no limit.
  double idle_s = 0;    ///< Ends after so long without a record; 0: no limit.
  bool json = false;    ///< Print one JSON object per line instead of a table.
  /// Named on standard error after 2 s, once; empty: nothing is said.
  std::string waits_for;

  void add_to(CLI::App& command);
};

/// Which topic of a configuration.
using topic_choice = std::string configs::config::topics::*;

/// Reads a topic of JSON until `count` records were shown (returns 0), time ran out (1 if `count`
/// was given), or Ctrl-C (130 if `count` was given). Returns the exit code; 4 when the broker or
/// the topic does not exist. With `--json` each value on a line, else `head` and a `row` for each
/// record, coloured on a terminal. Leaves out tombstones, records for which `wanted` is false and,
/// with `--json`, values that are not JSON, after a note on standard error.
int follow(const follow_options& options, topic_choice topic,
           const std::function<std::string(bool colours)>& head,
           const std::function<std::string(const messaging::record&, bool colours)>& row,
           const std::function<bool(const messaging::record&)>& wanted = {});

/// Reads the whole topic of a configuration, from its beginning to its present end, and passes each
/// record to `visit`. `unavailable` when broker or topic do not answer within `limit`, `timeout`
/// when no further record comes before the end. Waits for open transactions in the topic, reports
/// that on standard error, and ends early on Ctrl-C if that is caught.
expected<void> read_all(const configs::config& x, const std::string& topic,
                        const std::function<void(const messaging::record&)>& visit,
                        std::chrono::milliseconds limit = std::chrono::seconds{10});

} // namespace ziyu::cli
