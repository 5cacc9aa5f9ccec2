#include "cli/demo/screen.hpp"

#include "cli/view/terminal.hpp"

#include <algorithm>
#include <cstdio>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

} // namespace

demo_screen::demo_screen()
  : live_(is_terminal(STDERR_FILENO)), colours_(wants_colour(STDERR_FILENO)) {
  // nop
}

void demo_screen::say(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  drawn_ = 0;
}

void demo_screen::show(const demo_account& account, const demo_moment& now) {
  const auto at = clock::now();
  if (at - last_ < (live_ ? 100ms : 2000ms))
    return;
  last_ = at;
  draw(account, now);
}

void demo_screen::finish(const demo_account& account, const demo_moment& now) {
  draw(account, now);
  last_ = {};
  drawn_ = 0;
  if (live_)
    std::fputs("\n", stderr);
}

void demo_screen::draw(const demo_account& account, const demo_moment& now) {
  if (!live_) {
    std::fprintf(stderr, "%s: %llu of %llu answered, %.1f jobs/s, %zu replacements\n",
                 now.phase.c_str(), static_cast<unsigned long long>(account.answered()),
                 static_cast<unsigned long long>(account.total()), now.jobs_per_second,
                 account.replacements().size());
    return;
  }
  const auto rows = terminal_height(STDERR_FILENO);
  const auto lines = draw_demo(account, now, terminal_width(STDERR_FILENO), rows - 1, colours_);
  // One write for each frame. So the cursor does not move visibly, lines do not wrap after the
  // window got narrower, and nothing must be restored if the process is killed between two frames.
  std::string out = "\x1b[?25l\x1b[?7l\r";
  if (drawn_ > 0)
    out += "\x1b[" + std::to_string(drawn_) + "A";
  for (const auto& x : lines)
    out += "\x1b[2K" + x + "\n"; // Erased first: a full line leaves the cursor at its end.
  out += "\x1b[J\x1b[?7h\x1b[?25h";
  drawn_ = std::min(lines.size(), rows - 1);
  std::fwrite(out.data(), 1, out.size(), stderr);
  std::fflush(stderr);
}

} // namespace ziyu::cli
