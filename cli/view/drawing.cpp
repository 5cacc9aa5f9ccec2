#include "cli/view/drawing.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "cli/common/json.hpp"

#include <algorithm>

namespace ziyu::cli {

namespace {

constexpr double rate_window_s = 3;

std::string repeated(const char* what, size_t n) {
  std::string result;
  for (size_t i = 0; i < n; ++i)
    result += what;
  return result;
}

} // namespace

styled_line& styled_line::add(std::string_view text, std::optional<colour> x) {
  auto shown = printable(text);
  if (display_width(shown) > room_)
    shown = fit(shown, room_);
  room_ -= display_width(shown);
  out_ += x ? paint(shown, *x, colours_ && !shown.empty()) : shown;
  return *this;
}

styled_line& styled_line::cell(std::string_view text, size_t columns, std::optional<colour> x,
                               bool right_aligned) {
  return add(fit(text, columns, right_aligned), x);
}

styled_line& styled_line::bar(double share, size_t columns, colour x) {
  const auto full = static_cast<size_t>(std::clamp(share, 0., 1.) * static_cast<double>(columns));
  return add(repeated("█", full), x).add(repeated("░", columns - full), colour::grey);
}

styled_line& styled_line::levels(const std::vector<double>& values, size_t columns, double budget) {
  const auto shown = std::min(columns, values.size());
  std::vector<double> part;
  for (auto i = values.end() - static_cast<std::ptrdiff_t>(shown); i != values.end(); ++i) {
    if (!part.empty() && level_of(part.back() / budget) != level_of(*i / budget)) {
      add(sparkline(part, part.size(), budget), level_of(part.back() / budget));
      part.clear();
    }
    part.push_back(*i);
  }
  if (!part.empty())
    add(sparkline(part, part.size(), budget), level_of(part.back() / budget));
  return add(std::string(columns - shown, ' '));
}

void page::title(std::string_view text) {
  line();
  line(coloured(printable(text), colour::bold));
}

colour level_of(double share) {
  return share < .5 ? colour::green : share < 1 ? colour::yellow : colour::red;
}

std::string sparkline(const std::vector<double>& values, size_t columns, double max) {
  static constexpr const char* blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::string result;
  const auto from = values.size() > columns ? values.size() - columns : 0;
  for (auto i = from; i < values.size(); ++i) {
    const auto share = max > 0 ? std::clamp(values[i] / max, 0., 1.) : 0.;
    result += blocks[std::min<size_t>(7, static_cast<size_t>(share * 8))];
  }
  for (auto i = values.size() - from; i < columns; ++i)
    result += ' ';
  return result;
}

std::string counted(uint64_t n, const std::string& one) {
  return std::to_string(n) + " " + one + (n == 1 ? "" : "s");
}

std::string bytes_of(uint64_t x) { return format_bytes(static_cast<int64_t>(x)); }

std::string shown_bytes_in(const nlohmann::json& x, const char* key) {
  const auto& value = field(x, key);
  return value.is_number_integer() ? format_bytes(value.get<int64_t>()) : "?";
}

std::string signed_bytes(int64_t x) { return (x > 0 ? "+" : "") + format_bytes(x); }

void rate_meter::add(double seconds, uint64_t done) {
  recent_.emplace_back(seconds, done);
  while (recent_.size() > 2 && seconds - recent_[1].first >= rate_window_s)
    recent_.pop_front();
}

double rate_meter::per_second() const {
  const auto& [from, before] = recent_.front();
  const auto& [to, after] = recent_.back();
  return to > from ? static_cast<double>(after - before) / (to - from) : 0;
}

} // namespace ziyu::cli
