#include "cli/waiting_note.hpp"

#include "cli/terminal.hpp"

#include <cstdio>

namespace ziyu::cli {

waiting_note::waiting_note(std::string what, std::chrono::milliseconds quiet)
  : thread_([this, what = std::move(what), quiet] {
      std::unique_lock lock{mutex_};
      if (!changed_.wait_for(lock, quiet, [this] { return done_; }))
        std::fprintf(stderr, "ziyu: waiting for %s ...\n", printable(what).c_str());
    }) {}

waiting_note::~waiting_note() {
  {
    const std::lock_guard lock{mutex_};
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

} // namespace ziyu::cli
