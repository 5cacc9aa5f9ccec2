#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace ziyu::cli {

/// True if the file descriptor is a terminal.
bool is_terminal(int fd);

/// True if text for `fd` may be coloured: a terminal that is not dumb, and
/// NO_COLOR is not set (https://no-color.org).
bool wants_colour(int fd);

/// Columns of the terminal behind `fd`, 80 when there is none.
size_t terminal_width(int fd);

/// Lines of the terminal behind `fd`, 24 when there is none.
size_t terminal_height(int fd);

enum class colour : uint8_t {
  red = 31,
  green = 32,
  yellow = 33,
  blue = 34,
  cyan = 36,
  grey = 90,
  bold = 1
};

/// `text` in a colour, or as it is when `enabled` is false.
std::string paint(std::string_view text, colour x, bool enabled);

/// `text` without control characters and with well-formed UTF-8 only: text from elsewhere must not
/// control the terminal.
std::string printable(std::string_view text);

/// `text` in exactly `columns` columns: cut with an ellipsis or padded with spaces,
/// on the left when `right_aligned`. Wide characters count as two.
std::string fit(std::string_view text, size_t columns, bool right_aligned = false);

/// Writes a line to standard output at once, so that readers of a pipe see it.
void print_line(const std::string& text);

/// A progress bar on standard error; shows nothing unless that is a terminal. Redrawn at most ten
/// times a second. Not thread-safe.
class progress_bar {
public:
  progress_bar(std::string label, uint64_t total);
  ~progress_bar(); ///< Ends the line.
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;

  void show(uint64_t done);

  /// Erases the bar, so that lines can be written; the next `show` draws it again.
  void clear();

private:
  void draw();

  std::string label_;
  uint64_t total_, done_ = 0;
  bool enabled_, drawn_ = false;
  std::chrono::steady_clock::time_point started_, last_;
};

} // namespace ziyu::cli
