#include "cli/demo_view.hpp"

#include "base/bytes.hpp"
#include "cli/terminal.hpp"

#include <algorithm>
#include <cstdio>

namespace ziyu::cli {

namespace {

template <class... Ts>
std::string format(const char* pattern, Ts... values) {
  char text[256];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

std::string bar(double share, size_t columns) {
  const auto full = static_cast<size_t>(std::clamp(share, 0., 1.) * static_cast<double>(columns));
  std::string result;
  for (size_t i = 0; i < columns; ++i)
    result += i < full ? "█" : "░";
  return result;
}

} // namespace

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

std::vector<std::string> draw_demo(const demo_account& a, const demo_moment& now, size_t columns,
                                   bool colours) {
  const auto inner = std::max<size_t>(columns, 60);
  std::vector<std::string> lines;
  lines.push_back(paint(fit("Ziyu 自愈   " + now.phase, inner), colour::bold, colours));
  const auto share = a.total() == 0
                       ? 0.
                       : static_cast<double>(a.answered()) / static_cast<double>(a.total());
  lines.push_back(
    bar(share, inner - 44)
    + format(" %5llu of %llu  %6.1f jobs/s  %4.0f s", static_cast<unsigned long long>(a.answered()),
             static_cast<unsigned long long>(a.total()), now.jobs_per_second, now.seconds));
  lines.emplace_back();
  for (const auto& [slot, readings] : a.by_slot()) {
    std::vector<double> values;
    for (const auto& x : readings)
      values.push_back(static_cast<double>(x.private_bytes));
    const auto& last = readings.back();
    lines.push_back(
      format("slot %u  generation %-4llu", slot, static_cast<unsigned long long>(last.generation))
      + sparkline(values, inner - 24 - 26, static_cast<double>(now.budget_bytes))
      + fit(format_bytes(static_cast<int64_t>(last.private_bytes)), 10, true) + " of "
      + format_bytes(static_cast<int64_t>(now.budget_bytes)));
  }
  lines.emplace_back();
  for (const auto& x : now.latest) {
    const auto label = x.top_k.empty() ? std::string{"?"} : printable(x.top_k.front().label);
    const auto confidence = x.top_k.empty() ? 0. : x.top_k.front().confidence;
    lines.push_back(fit(printable(x.job_id), 16) + fit(label, 14)
                    + format("%5.1f %%  %6.1f ms  %+lld B", confidence * 100, x.total_ms,
                             static_cast<long long>(x.delta_bytes)));
  }
  lines.emplace_back();
  uint64_t recovered = 0;
  for (const auto& x : a.replacements())
    recovered += x.bytes_recovered;
  std::string summary = format("replacements %zu", a.replacements().size());
  if (!a.replacements().empty()) {
    const auto& last = a.replacements().back();
    summary += " (" + format_bytes(static_cast<int64_t>(recovered)) + " recovered; last: slot "
               + std::to_string(last.slot) + ", " + last.cause + format(", %.0f ms)", last.ms);
  }
  lines.push_back(paint(summary, colour::green, colours));
  lines.push_back("breaker " + a.breaker() + "   dead letters " + std::to_string(a.dead_lettered())
                  + "   duplicates " + std::to_string(a.duplicates()));
  return lines;
}

} // namespace ziyu::cli
