#include "cli/view/terminal.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

namespace ziyu::cli {

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

bool wants_colour(int fd) {
  const auto* no_color = std::getenv("NO_COLOR");
  const auto* term = std::getenv("TERM");
  return is_terminal(fd) && (no_color == nullptr || *no_color == '\0')
         && (term == nullptr || std::string_view{term} != "dumb");
}

size_t terminal_width(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  return 80;
}

size_t terminal_height(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
    return size.ws_row;
  return 24;
}

std::string paint(std::string_view text, colour x, bool enabled) {
  if (!enabled)
    return std::string{text};
  return "\x1b[" + std::to_string(static_cast<int>(x)) + "m" + std::string{text} + "\x1b[0m";
}

std::string printable(std::string_view text) {
  std::string result;
  for (const auto well_formed = to_utf8(text); const char c : well_formed) {
    const auto byte = static_cast<unsigned char>(c);
    // C1 controls are two bytes in UTF-8 and begin with 0xc2.
    if (!result.empty() && static_cast<unsigned char>(result.back()) == 0xc2 && byte < 0xa0)
      result.back() = ' ';
    else
      result += byte < 0x20 || byte == 0x7f ? ' ' : c;
  }
  return result;
}

std::string fit(std::string_view text, size_t columns, bool right_aligned) {
  auto result = printable(text);
  auto width = display_width(result);
  if (width > columns) {
    // Whole characters, and a column for the ellipsis.
    std::string_view rest{result};
    width = 0;
    for (;;) {
      const auto next = first_character(rest);
      const auto wider = width + display_width(next);
      if (wider >= columns)
        break;
      width = wider;
      rest.remove_prefix(next.size());
    }
    result.resize(result.size() - rest.size());
    if (columns > 0) {
      result += "…";
      ++width;
    }
  }
  const std::string padding(columns > width ? columns - width : 0, ' ');
  return right_aligned ? padding + result : result + padding;
}

void print_line(const std::string& text) {
  std::fputs((text + "\n").c_str(), stdout);
  std::fflush(stdout);
}

progress_bar::progress_bar(std::string label, uint64_t total)
  : label_(std::move(label)), total_(std::max<uint64_t>(total, 1)),
    enabled_(is_terminal(STDERR_FILENO)), started_(std::chrono::steady_clock::now()) {
  // nop
}

progress_bar::~progress_bar() {
  if (last_ == std::chrono::steady_clock::time_point{})
    return; // Never drawn.
  draw();
  std::fputs("\n", stderr);
}

void progress_bar::show(uint64_t done) {
  done_ = std::min(done, total_);
  const auto now = std::chrono::steady_clock::now();
  if (!enabled_ || now - last_ < std::chrono::milliseconds{100})
    return;
  last_ = now;
  draw();
}

void progress_bar::clear() {
  if (!drawn_)
    return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

void progress_bar::draw() {
  const auto seconds =
    std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, " %llu/%llu %.0f/s",
                static_cast<unsigned long long>(done_), static_cast<unsigned long long>(total_),
                seconds > 0 ? static_cast<double>(done_) / seconds : 0.0);
  const std::string_view tail{numbers};
  const auto width = terminal_width(STDERR_FILENO);
  const auto taken = display_width(label_) + tail.size() + 3;
  const auto cells = std::min<size_t>(40, width > taken ? width - taken : 0);
  // Eighths of a cell.
  const auto eighths = static_cast<size_t>(done_ * cells * 8 / total_);
  static constexpr const char* parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  std::string bar;
  for (size_t i = 0; i < eighths / 8; ++i)
    bar += "█";
  bar += parts[eighths % 8];
  std::fprintf(stderr, "\r%s %s%.*s\x1b[K", label_.c_str(), fit(bar, cells).c_str(),
               static_cast<int>(tail.size()), tail.data());
  std::fflush(stderr);
  drawn_ = true;
}

} // namespace ziyu::cli
