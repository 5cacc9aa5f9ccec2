#pragma once

#include "cli/demo_view.hpp"

#include <chrono>
#include <string>

namespace ziyu::cli {

/// Shows the demo on standard error: on a terminal a live view, drawn over itself;
/// elsewhere a line now and then.
class demo_screen {
public:
  demo_screen();

  /// Writes a line that stays.
  void say(const std::string& text);

  /// Draws the moment, unless the last one was drawn just before.
  void show(const demo_account& account, const demo_moment& now);

  /// Draws the last moment of a run; it stays.
  void finish(const demo_account& account, const demo_moment& now);

private:
  void draw(const demo_account& account, const demo_moment& now);

  bool live_, colours_;
  size_t drawn_ = 0; ///< Lines to go up to draw the view over itself.
  std::chrono::steady_clock::time_point last_{};
};

} // namespace ziyu::cli
