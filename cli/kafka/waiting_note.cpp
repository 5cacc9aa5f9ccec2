#include "cli/kafka/waiting_note.hpp"

#include "cli/view/terminal.hpp"

#include <cstdio>

namespace ziyu::cli {

waiting_note::waiting_note(const configs::properties& client, std::chrono::milliseconds quiet)
  : thread_([this, what = "the broker " + client.at("bootstrap.servers"), quiet] {
      std::unique_lock lock{mutex_};
      if (!changed_.wait_for(lock, quiet, [this] { return done_; }))
        print_waiting_for(what);
    }) {}

waiting_note::~waiting_note() {
  {
    const std::lock_guard lock{mutex_};
    done_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void print_waiting_for(const std::string& what) {
  std::fprintf(stderr, "ziyu: waiting for %s ...\n", printable(what).c_str());
}

} // namespace ziyu::cli
