#pragma once

#include "cli/dlq/book.hpp"

namespace ziyu::cli {

/// One run of `ziyu dlq replay` or `ziyu dlq drop`.
struct handling_request {
  messaging::dead_letter_action what = messaging::dead_letter_action::dropped;
  dead_letter_filter which;
  bool all = false;                        ///< An empty filter is meant.
  bool yes = false;                        ///< Do not ask.
  bool json = false;                       ///< One line per dead letter that is done.
  std::chrono::milliseconds limit{10'000}; ///< Of each wait for the broker.
};

/// Handles what matches and prints the outcome; the exit code.
int handle_dead_letters(const configs::config& c, handling_request request);

} // namespace ziyu::cli
