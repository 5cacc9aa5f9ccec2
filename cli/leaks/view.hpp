#pragma once

#include "cli/leaks/book.hpp"
#include "cli/view/chart.hpp"

#include <string>
#include <vector>

namespace ziyu::cli {

// Leak reports for people. Pure.

std::string leak_head(bool colours);

/// A report in a line: id, time, worker, cause, growth, top site, replacements.
std::string leak_row(const leak_story& x, const std::vector<healing>& healed, bool colours);

/// A report for people who have to mend the leak: verdict, numbers, memory every 10 jobs,
/// forecast, call stacks, replacements. Lines are cut at `columns`, except those with prose or
/// call stacks.
/// @param full All frames of the stacks instead of the relevant part.
std::vector<std::string> draw_leak(const leak_story& x, const std::vector<healing>& healed,
                                   size_t columns, bool full, bool colours);

/// How live bytes and private memory grew over the jobs of the series, each above its lowest value,
/// and the budget's line if the growth comes near it.
chart leak_chart(const leak_story& x);

} // namespace ziyu::cli
