#include "cli/view/chart.hpp"

#include "cli/view/svg.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace ziyu::cli {

namespace {

using svg::number;

constexpr double width = 860, plot_height = 300, left = 64, right = 24, top = 64;
constexpr size_t legend_columns = 3;
constexpr double legend_row = 22;

std::string text_at(double x, double y, const std::string& text, const std::string& more) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + more + ">" + svg::escape(text)
         + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& more) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\""
         + number(y2) + "\" " + more + "/>\n";
}

} // namespace

double tick_step(double max, int count) {
  const auto rough = max / count;
  const auto power = std::pow(10, std::floor(std::log10(rough)));
  for (auto factor : {1., 2., 5.})
    if (rough <= factor * power)
      return factor * power;
  return 10 * power;
}

std::string to_svg(const chart& c) {
  double max_x = 1, max_y = c.limit ? c.limit->first * 1.05 : 1;
  for (const auto& s : c.series)
    for (const auto& [x, y] : s.points) {
      max_x = std::max(max_x, x);
      max_y = std::max(max_y, y * 1.05);
    }
  const auto step_x = tick_step(max_x, 10), step_y = tick_step(max_y, 6);
  max_y = std::ceil(max_y / step_y) * step_y;
  const auto entries = c.series.size() + (c.marks.empty() ? 0 : 1);
  const auto legend_rows = static_cast<double>((entries + legend_columns - 1) / legend_columns);
  const auto floor = top + plot_height, legend_top = floor + 66;
  const auto height = legend_top + legend_rows * legend_row;
  auto px = [&](double x) { return left + x / max_x * (width - left - right); };
  auto py = [&](double y) { return floor - y / max_y * plot_height; };
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " "
                    + number(height) + "\" width=\"" + number(width) + "\" height=\""
                    + number(height)
                    + "\" font-family=\"system-ui, 'Noto Sans', 'Noto Sans CJK SC', sans-serif\" "
                      "font-size=\"12\">\n"
                      "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n";
  out += text_at(left, 28, c.title, "font-size=\"16\" font-weight=\"600\" fill=\"#1b1f24\"");
  for (double y = 0; y <= max_y * 1.0001; y += step_y) {
    out += line(left, py(y), width - right, py(y), "stroke=\"#e3e6ea\"");
    out += text_at(left - 8, py(y) + 4, number(y), "text-anchor=\"end\" fill=\"#57606a\"");
  }
  for (double x = 0; x <= max_x * 1.0001; x += step_x)
    out += text_at(px(x), floor + 18, number(x), "text-anchor=\"middle\" fill=\"#57606a\"");
  out += text_at((left + width - right) / 2, floor + 40, c.x_label,
                 "text-anchor=\"middle\" fill=\"#57606a\"");
  out += text_at(left - 8, top - 14, c.y_label, "text-anchor=\"end\" fill=\"#57606a\"");
  if (c.limit) {
    out += line(left, py(c.limit->first), width - right, py(c.limit->first),
                "stroke=\"#b42318\" stroke-dasharray=\"2 4\"");
    out += text_at(width - right, py(c.limit->first) - 6, c.limit->second,
                   "text-anchor=\"end\" fill=\"#b42318\"");
  }
  for (const auto& s : c.series) {
    if (s.points.empty())
      continue;
    std::string points;
    for (const auto& [x, y] : s.points)
      points += number(px(x)) + "," + number(py(y)) + " ";
    points.pop_back();
    out += "<polyline fill=\"none\" stroke=\"" + s.colour
           + "\" stroke-width=\"1.8\" stroke-linejoin=\"round\""
           + (s.dashed ? " stroke-dasharray=\"6 4\"" : "") + " points=\"" + points + "\"/>\n";
  }
  for (const auto& [x, y] : c.marks)
    out += "<circle cx=\"" + number(px(x)) + "\" cy=\"" + number(py(y))
           + "\" r=\"3.5\" fill=\"#ffffff\" stroke=\"#1b1f24\"/>\n";
  for (const auto& x : c.notes) {
    const auto at = px(x.x);
    const auto on_right = !x.above && at < (left + width - right) / 2;
    const auto beside = x.above ? 0 : on_right ? 10 : -10;
    // The halo keeps it readable on top of a line.
    out += text_at(at + beside, py(x.y) + (x.above ? -12 : -4), x.text,
                   std::string{"text-anchor=\""}
                     + (x.above    ? "middle"
                        : on_right ? "start"
                                   : "end")
                     + "\" font-weight=\"600\" fill=\"" + x.colour
                     + "\" stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\"");
  }
  const auto legend_width = (width - left - right) / legend_columns;
  auto entry_at = [&](size_t i) {
    return std::pair{left + legend_width * static_cast<double>(i % legend_columns),
                     legend_top + legend_row * static_cast<double>(i / legend_columns)};
  };
  for (size_t i = 0; i < c.series.size(); ++i) {
    const auto& s = c.series[i];
    const auto [x, y] = entry_at(i);
    out += line(x, y - 4, x + 22, y - 4,
                "stroke=\"" + s.colour + "\" stroke-width=\"2.4\""
                  + (s.dashed ? " stroke-dasharray=\"6 4\"" : ""));
    out += text_at(x + 28, y, s.name, "fill=\"#1b1f24\"");
  }
  if (!c.marks.empty()) {
    const auto [x, y] = entry_at(c.series.size());
    out += "<circle cx=\"" + number(x + 11) + "\" cy=\"" + number(y - 4)
           + "\" r=\"3.5\" fill=\"#ffffff\" stroke=\"#1b1f24\"/>\n";
    out += text_at(x + 28, y, c.marks_name, "fill=\"#1b1f24\"");
  }
  return out + "</svg>\n";
}

} // namespace ziyu::cli
