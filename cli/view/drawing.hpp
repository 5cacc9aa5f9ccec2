#pragma once

#include "cli/view/terminal.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ziyu::cli {

// Parts of tables and live views. Pure.

/// printf into a string of at most 255 bytes: for numbers.
template <class... Ts>
std::string format(const char* pattern, Ts... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

/// A line that never gets wider than its columns.
class styled_line {
public:
  styled_line(size_t columns, bool colours) : room_(columns), colours_(colours) {}

  styled_line& add(std::string_view text, std::optional<colour> x = {});

  /// `text` in exactly `columns` columns, as far as there is room.
  styled_line& cell(std::string_view text, size_t columns, std::optional<colour> x = {},
                    bool right_aligned = false);

  /// A bar of `columns` columns, `share` (0..1) of it full.
  styled_line& bar(double share, size_t columns, colour x);

  /// The latest of `values` as a sparkline of `columns` columns, coloured by level, so that the way
  /// to a budget is visible.
  styled_line& levels(const std::vector<double>& values, size_t columns, double budget);

  size_t room() const { return room_; }
  std::string take() { return std::move(out_); }

private:
  size_t room_;
  bool colours_;
  std::string out_;
};

/// The lines of a view, each of at most `columns` columns but for those that are added as they are.
class page {
public:
  page(size_t columns, bool colours) : columns_(columns), colours_(colours) {}

  styled_line start() const { return {columns_, colours_}; }
  void put(styled_line x) { lines_.push_back(x.take()); }

  /// A whole line, with its colours.
  void line(std::string text = {}) { lines_.push_back(std::move(text)); }

  /// A heading below an empty line.
  void title(std::string_view text);

  std::string coloured(std::string_view text, colour x) const { return paint(text, x, colours_); }
  size_t columns() const { return columns_; }
  size_t drawn() const { return lines_.size(); } ///< Lines so far.
  std::vector<std::string> take() { return std::move(lines_); }

private:
  size_t columns_;
  bool colours_;
  std::vector<std::string> lines_;
};

/// The colour of a share of a budget.
colour level_of(double share);

/// The latest values as block characters, `columns` of them, scaled to `max`.
std::string sparkline(const std::vector<double>& values, size_t columns, double max);

/// "3 slots", "1 slot".
std::string counted(uint64_t n, const std::string& one);

/// "6.0 MiB", as `format_bytes`.
std::string bytes_of(uint64_t x);

/// Bytes in JSON for people: "6.0 MiB", or "?" if there is no whole number.
std::string shown_bytes_in(const nlohmann::json& x, const char* key);

/// "+6.0 MiB", "-16 B", "0 B".
std::string signed_bytes(int64_t x);

/// Jobs per second over the latest seconds; works from the first moment on, however short the run
/// is.
class rate_meter {
public:
  /// Notes that `done` jobs were finished at `seconds`, which never decreases.
  void add(double seconds, uint64_t done);
  double per_second() const;

private:
  std::deque<std::pair<double, uint64_t>> recent_{{0, 0}};
};

} // namespace ziyu::cli
