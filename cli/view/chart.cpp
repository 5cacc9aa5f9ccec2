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

/// One chart as it is drawn: its scales, and one function for each of its parts.
class drawing {
public:
  explicit drawing(const chart& c) : chart_(c) {
    max_y_ = c.limit ? c.limit->first * 1.05 : 1;
    for (const auto& s : c.series)
      for (const auto& [x, y] : s.points) {
        max_x_ = std::max(max_x_, x);
        max_y_ = std::max(max_y_, y * 1.05);
      }
    step_x_ = tick_step(max_x_, 10);
    step_y_ = tick_step(max_y_, 6);
    max_y_ = std::ceil(max_y_ / step_y_) * step_y_;
  }

  std::string all() const {
    const auto entries = chart_.series.size() + (chart_.marks.empty() ? 0 : 1);
    const auto legend_rows = (entries + legend_columns - 1) / legend_columns;
    const auto height = legend_top + static_cast<double>(legend_rows) * legend_row;
    auto out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " "
               + number(height) + "\" width=\"" + number(width) + "\" height=\"" + number(height)
               + "\" font-family=\"system-ui, 'Noto Sans', 'Noto Sans CJK SC', sans-serif\" "
                 "font-size=\"12\">\n"
                 "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n";
    out += text_at(left, 28, chart_.title, "font-size=\"16\" font-weight=\"600\" fill=\"#1b1f24\"");
    out += axes() + limit();
    for (const auto& s : chart_.series)
      out += curve(s);
    for (const auto& [x, y] : chart_.marks)
      out += mark(px(x), py(y));
    for (const auto& x : chart_.notes)
      out += note(x);
    return out + legend() + "</svg>\n";
  }

private:
  static constexpr double floor = top + plot_height, legend_top = floor + 66;

  double px(double x) const { return left + x / max_x_ * (width - left - right); }
  double py(double y) const { return floor - y / max_y_ * plot_height; }

  std::string axes() const {
    std::string out;
    for (int i = 0; i * step_y_ <= max_y_ * 1.0001; ++i) {
      const auto y = i * step_y_;
      out += line(left, py(y), width - right, py(y), "stroke=\"#e3e6ea\"");
      out += text_at(left - 8, py(y) + 4, number(y), "text-anchor=\"end\" fill=\"#57606a\"");
    }
    for (int i = 0; i * step_x_ <= max_x_ * 1.0001; ++i)
      out += text_at(px(i * step_x_), floor + 18, number(i * step_x_),
                     "text-anchor=\"middle\" fill=\"#57606a\"");
    out += text_at((left + width - right) / 2, floor + 40, chart_.x_label,
                   "text-anchor=\"middle\" fill=\"#57606a\"");
    return out
           + text_at(left - 8, top - 14, chart_.y_label, "text-anchor=\"end\" fill=\"#57606a\"");
  }

  std::string limit() const {
    if (!chart_.limit)
      return {};
    const auto& [value, name] = *chart_.limit;
    return line(left, py(value), width - right, py(value),
                "stroke=\"#b42318\" stroke-dasharray=\"2 4\"")
           + text_at(width - right, py(value) - 6, name, "text-anchor=\"end\" fill=\"#b42318\"");
  }

  static std::string dashes(const chart_series& s) {
    return s.dashed ? " stroke-dasharray=\"6 4\"" : "";
  }

  std::string curve(const chart_series& s) const {
    if (s.points.empty())
      return {};
    std::string points;
    for (const auto& [x, y] : s.points)
      points += number(px(x)) + "," + number(py(y)) + " ";
    points.pop_back();
    return "<polyline fill=\"none\" stroke=\"" + s.colour
           + "\" stroke-width=\"1.8\" stroke-linejoin=\"round\"" + dashes(s) + " points=\"" + points
           + "\"/>\n";
  }

  static std::string mark(double x, double y) {
    return "<circle cx=\"" + number(x) + "\" cy=\"" + number(y)
           + "\" r=\"3.5\" fill=\"#ffffff\" stroke=\"#1b1f24\"/>\n";
  }

  std::string note(const chart_note& x) const {
    const auto at = px(x.x);
    const auto on_right = !x.above && at < (left + width - right) / 2;
    const auto beside = x.above ? 0 : on_right ? 10 : -10;
    const auto* anchor = x.above ? "middle" : on_right ? "start" : "end";
    // The halo keeps the text readable on top of a line.
    return text_at(at + beside, py(x.y) + (x.above ? -12 : -4), x.text,
                   std::string{"text-anchor=\""} + anchor + "\" font-weight=\"600\" fill=\""
                     + x.colour
                     + "\" stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\"");
  }

  std::string legend() const {
    const auto column = (width - left - right) / legend_columns;
    auto entry_at = [&](size_t i) {
      const auto row = i / legend_columns;
      return std::pair{left + column * static_cast<double>(i % legend_columns),
                       legend_top + legend_row * static_cast<double>(row)};
    };
    std::string out;
    for (size_t i = 0; i < chart_.series.size(); ++i) {
      const auto& s = chart_.series[i];
      const auto [x, y] = entry_at(i);
      out += line(x, y - 4, x + 22, y - 4,
                  "stroke=\"" + s.colour + "\" stroke-width=\"2.4\"" + dashes(s));
      out += text_at(x + 28, y, s.name, "fill=\"#1b1f24\"");
    }
    if (!chart_.marks.empty()) {
      const auto [x, y] = entry_at(chart_.series.size());
      out += mark(x + 11, y - 4);
      out += text_at(x + 28, y, chart_.marks_name, "fill=\"#1b1f24\"");
    }
    return out;
  }

  const chart& chart_;
  double max_x_ = 1, max_y_ = 1, step_x_ = 1, step_y_ = 1;
};

} // namespace

double tick_step(double max, int count) {
  const auto rough = max / count;
  const auto power = std::pow(10, std::floor(std::log10(rough)));
  for (auto factor : {1., 2., 5.})
    if (rough <= factor * power)
      return factor * power;
  return 10 * power;
}

std::string to_svg(const chart& c) { return drawing{c}.all(); }

} // namespace ziyu::cli
