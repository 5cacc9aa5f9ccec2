#include "supervision/output_lines.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <utility>

namespace ziyu::supervision {

namespace {

/// Well-formed, without control characters, without white space at its end.
std::string clean(std::string_view line) {
  auto text = to_utf8(line);
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // C1 controls are two bytes in UTF-8 and begin with 0xc2.
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0xff;
    if (byte == 0xc2 && next < 0xa0)
      text[i] = text[i + 1] = ' ';
    else if (byte < 0x20 || byte == 0x7f)
      text[i] = ' ';
  }
  text.resize(text.find_last_not_of(' ') + 1);
  return text;
}

} // namespace

output_lines::source& output_lines::find(int32_t pid, clock::time_point now) {
  auto [i, added] = sources_.try_emplace(pid);
  auto& x = i->second;
  if (added) {
    x.credit = settings_.burst;
    x.refilled = now;
    if (sources_.size() > settings_.processes)
      sources_.erase(
        std::min_element(sources_.begin(), sources_.end(), [pid](const auto& a, const auto& b) {
          return b.first == pid || (a.first != pid && a.second.wrote < b.second.wrote);
        }));
  }
  return sources_.at(pid);
}

void output_lines::end_line(int32_t pid, source& x, clock::time_point now,
                            std::vector<output_line>& to) {
  auto text = clean(x.begun);
  if (std::exchange(x.cut, false))
    text += "…";
  x.begun.clear();
  if (text.empty())
    return;
  const std::chrono::duration<double> passed = now - x.refilled;
  x.refilled = now;
  x.credit = std::min(settings_.burst, x.credit + passed.count() * settings_.lines_per_second);
  if (x.credit < 1) {
    ++x.dropped;
    return;
  }
  x.credit -= 1;
  to.push_back({pid, std::move(text), std::exchange(x.dropped, 0)});
}

std::vector<output_line> output_lines::feed(int32_t pid, std::string_view bytes,
                                            clock::time_point now) {
  std::vector<output_line> result;
  auto& x = find(pid, now);
  x.wrote = now;
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    const auto part = bytes.substr(0, end);
    const auto room = settings_.line_bytes - std::min(settings_.line_bytes, x.begun.size());
    x.begun += part.substr(0, room);
    x.cut = x.cut || part.size() > room;
    if (end == std::string_view::npos)
      break;
    bytes.remove_prefix(end + 1);
    end_line(pid, x, now, result);
  }
  return result;
}

std::vector<output_line> output_lines::tick(clock::time_point now) {
  std::vector<output_line> result;
  for (auto& [pid, x] : sources_) {
    if (now - x.wrote < settings_.patience)
      continue;
    end_line(pid, x, now, result);
    if (x.dropped > 0)
      result.push_back({pid, {}, std::exchange(x.dropped, 0)});
  }
  return result;
}

std::vector<output_line> output_lines::finish() {
  std::vector<output_line> result;
  for (auto& [pid, x] : sources_) {
    end_line(pid, x, x.refilled, result);
    if (x.dropped > 0)
      result.push_back({pid, {}, std::exchange(x.dropped, 0)});
  }
  return result;
}

} // namespace ziyu::supervision
