#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ziyu::cli {

struct chart_series {
  std::string name;
  std::string colour; ///< In CSS notation.
  bool dashed = false;
  std::vector<std::pair<double, double>> points; ///< In the order of x.
};

/// A remark beside a point.
struct chart_note {
  double x = 0, y = 0;
  std::string text, colour;
  bool above = false; ///< Above the point; else beside it, on the side with more room.
};

/// A line chart. All numbers in the units of its labels.
struct chart {
  std::string title, x_label, y_label;
  std::vector<chart_series> series;
  std::optional<std::pair<double, std::string>> limit; ///< A horizontal line and its name.
  std::vector<std::pair<double, double>> marks;        ///< Events to mark with a dot.
  std::string marks_name;
  std::vector<chart_note> notes;
};

/// A self-contained SVG document, readable on light and dark backgrounds.
std::string to_svg(const chart& x);

/// The distance of ticks (1, 2 or 5 times a power of ten) that gives about `count` of
/// them up to `max`. @pre max > 0
double tick_step(double max, int count);

} // namespace ziyu::cli
