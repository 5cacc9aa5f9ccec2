#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// A line that a process has written.
struct output_line {
  int32_t pid = 0;
  std::string text;     ///< UTF-8 without control characters; empty: only `dropped` has a meaning.
  uint64_t dropped = 0; ///< Lines of the same process that were too many, before this one.
};

/// Cuts processes' output into lines that are bounded in length and in rate: a library that warns
/// for each image, or a process that writes without end, must not fill the log. Pure: the caller
/// passes the time. Not thread-safe.
class output_lines {
public:
  using clock = std::chrono::steady_clock;

  struct settings {
    size_t line_bytes = 1024;     ///< The rest of a longer line is dropped.
    double lines_per_second = 10; ///< Of one process, after `burst` lines at once.
    double burst = 50;
    size_t processes = 64; ///< Those that wrote last; older ones are forgotten.
    /// After this time the beginning of a line is returned without its end.
    clock::duration patience = std::chrono::milliseconds{500};
  };

  output_lines() : output_lines(settings{}) {}
  explicit output_lines(settings x) : settings_(x) {}

  /// Process `pid` has written `bytes`. Returns the complete lines.
  std::vector<output_line> feed(int32_t pid, std::string_view bytes, clock::time_point now);

  /// Lines that are due although no more bytes came. Call it regularly.
  std::vector<output_line> tick(clock::time_point now);

  /// All remaining lines.
  std::vector<output_line> finish();

private:
  struct source {
    std::string begun; ///< The beginning of a line, at most `line_bytes`.
    bool cut = false;  ///< The present line is longer.
    double credit = 0;
    uint64_t dropped = 0;
    clock::time_point refilled{}, wrote{};
  };

  source& find(int32_t pid, clock::time_point now);
  void end_line(int32_t pid, source& x, clock::time_point now, std::vector<output_line>& to);

  settings settings_;
  std::map<int32_t, source> sources_;
};

} // namespace ziyu::supervision
