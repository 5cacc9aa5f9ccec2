#include "cli/chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace ziyu::cli {

namespace {

constexpr double width = 860, height = 420, left = 70, right = 24, top = 56, bottom = 92;

std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", std::round(x * 100) / 100);
  return text;
}

std::string escape(const std::string& text) {
  std::string result;
  for (auto c : text)
    result += c == '&'   ? "&amp;"
              : c == '<' ? "&lt;"
              : c == '>' ? "&gt;"
              : c == '"' ? "&quot;"
                         : std::string(1, c);
  return result;
}

std::string text_at(double x, double y, const std::string& text, const std::string& more) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + more + ">" + escape(text)
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
  auto px = [&](double x) { return left + x / max_x * (width - left - right); };
  auto py = [&](double y) { return height - bottom - y / max_y * (height - top - bottom); };
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " "
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
    out += text_at(px(x), height - bottom + 18, number(x),
                   "text-anchor=\"middle\" fill=\"#57606a\"");
  out += text_at((left + width - right) / 2, height - bottom + 38, c.x_label,
                 "text-anchor=\"middle\" fill=\"#57606a\"");
  out += text_at(left - 8, top - 10, c.y_label, "text-anchor=\"end\" fill=\"#57606a\"");
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
  double at = left;
  const auto legend_y = height - 22;
  for (const auto& s : c.series) {
    out += line(at, legend_y - 4, at + 22, legend_y - 4,
                "stroke=\"" + s.colour + "\" stroke-width=\"2.4\""
                  + (s.dashed ? " stroke-dasharray=\"6 4\"" : ""));
    out += text_at(at + 28, legend_y, s.name, "fill=\"#1b1f24\"");
    at += 46 + 6.6 * static_cast<double>(s.name.size());
  }
  if (!c.marks.empty()) {
    out += "<circle cx=\"" + number(at + 4) + "\" cy=\"" + number(legend_y - 4)
           + "\" r=\"3.5\" fill=\"#ffffff\" stroke=\"#1b1f24\"/>\n";
    out += text_at(at + 14, legend_y, c.marks_name, "fill=\"#1b1f24\"");
  }
  return out + "</svg>\n";
}

} // namespace ziyu::cli
