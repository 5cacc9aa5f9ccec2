#pragma once

#include "cli/demo/view.hpp"

#include <chrono>
#include <string>

namespace ziyu::cli {

/// Shows the demo on standard error: a live view on a terminal, otherwise a line from time to
/// time.
class demo_screen {
public:
  demo_screen();

  /// Writes a line that stays above the view.
  void say(const std::string& text);

  /// Draws the view, unless it was drawn just before.
  void show(const demo_account& account, const demo_moment& now);

  /// Draws the last view of a run; it stays.
  void finish(const demo_account& account, const demo_moment& now);

private:
  void draw(const demo_account& account, const demo_moment& now);

  bool live_, colours_;
  size_t drawn_ = 0; ///< Lines of the present view, which the next view overwrites.
  std::chrono::steady_clock::time_point last_{};
};

} // namespace ziyu::cli
