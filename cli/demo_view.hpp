#pragma once

#include "cli/demo_account.hpp"

#include <string>
#include <vector>

namespace ziyu::cli {

/// What the live view shows besides the account.
struct demo_moment {
  std::string phase; ///< One line: what is going on.
  double seconds = 0, jobs_per_second = 0;
  uint64_t budget_bytes = 0;
  std::vector<messaging::result> latest; ///< Newest last.
};

/// The live view as lines of at most `columns` columns. Pure.
std::vector<std::string> draw_demo(const demo_account& account, const demo_moment& now,
                                   size_t columns, bool colours);

/// The latest values as block characters, `columns` of them, scaled to `max`.
std::string sparkline(const std::vector<double>& values, size_t columns, double max);

} // namespace ziyu::cli
