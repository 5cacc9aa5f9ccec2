#pragma once

#include "cli/demo/account.hpp"

#include <optional>
#include <string>
#include <vector>

namespace ziyu::cli {

/// The content of the live view besides the account.
struct demo_moment {
  std::string phase; ///< One line: the present phase.
  double seconds = 0, jobs_per_second = 0;
  uint64_t budget_bytes = 0;
  std::vector<messaging::result> latest; ///< Newest last.
};

/// The live view as lines of at most `columns` columns, and at most `rows` of them if that is
/// enough for one result and one replacement. Pure.
std::vector<std::string> draw_demo(const demo_account& account, const demo_moment& now,
                                   size_t columns, size_t rows, bool colours);

/// The leaking slot in the run without healing.
struct unhealed_outcome {
  uint32_t slot = 0;
  uint64_t peak_bytes = 0;
  uint64_t results = 0;  ///< Jobs of this slot until the end.
  bool at_limit = false; ///< The demo ended it: it had reached the demo's own limit.
};

/// The content of the final table besides the account.
struct demo_outcome {
  double seconds = 0;
  uint64_t budget_bytes = 0;
  std::optional<unhealed_outcome> unhealed;
  std::vector<std::pair<std::string, std::string>> pointers; ///< What to look at next.
};

/// The final table, in lines of at most `columns` columns. Pure.
std::vector<std::string> draw_ledger(const demo_account& account, const demo_outcome& outcome,
                                     size_t columns, bool colours);

} // namespace ziyu::cli
