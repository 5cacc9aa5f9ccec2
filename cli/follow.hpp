#pragma once

#include "cli/connection.hpp"
#include "messaging/record.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace ziyu::cli {

/// What `ziyu results`, `events` and `dlq list` have in common: reading a topic
/// from its beginning or end until enough was seen.
struct follow_options {
  connection_options connection;
  std::string from;     ///< "beginning" or "end"; empty: the default of the command, "end".
  uint64_t count = 0;   ///< Records to show; 0: no limit.
  double timeout_s = 0; ///< To end after; 0: no limit.
  double idle_s = 0;    ///< To end when nothing came for so long; 0: no limit.
  bool json = false;    ///< A JSON object a line instead of a table.

  void add_to(CLI::App& command);
};

/// Shows one record on standard output; false when it was not worth counting.
using show_record = std::function<bool(const messaging::record&)>;

/// Reads `topic` (a function, for the name stands in the configuration) until
/// `count` records were shown (0), time ran out (1 if `count` was given), or
/// Ctrl-C (130 if `count` was given). Returns the exit code; 4 when the broker or the topic
/// is not there.
int follow(const follow_options& options,
           const std::function<std::string(const configs::config&)>& topic,
           const std::function<void()>& show_head, const show_record& show);

/// `follow` for a topic of JSON: with `--json` each value on a line (`json_line`), else
/// `head` and a `row` for each record, coloured on a terminal. Tombstones are left out, and
/// what `wanted` is false for.
int follow_values(const follow_options& options,
                  const std::function<std::string(const configs::config&)>& topic,
                  const std::function<std::string(bool colours)>& head,
                  const std::function<std::string(const messaging::record&, bool colours)>& row,
                  const std::function<bool(const messaging::record&)>& wanted = {});

/// Reads the whole topic of a configuration, from its beginning to where it ends now,
/// and hands each record to `visit`. `unavailable` when broker or topic are not there
/// within `limit`, `timeout` when nothing comes any more before its end. Waits for transactions
/// that are open in it, says so on standard error, and ends early on Ctrl-C if it is caught.
expected<void> read_all(const configs::config& x, const std::string& topic,
                        const std::function<void(const messaging::record&)>& visit,
                        std::chrono::milliseconds limit = std::chrono::seconds{10});

/// The value of a record as JSON on one line; nothing, after a note on standard error,
/// when it is not JSON.
std::optional<std::string> json_line(const messaging::record& x);

/// Writes a line to standard output at once, so that pipes see it.
void print_line(const std::string& text);

} // namespace ziyu::cli
