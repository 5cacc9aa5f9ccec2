#pragma once

#include "configs/config.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace ziyu::cli {

/// Reports on standard error, once, that a command waits for the broker of these properties, if it
/// still waits after `quiet`: a command that is silent for ten seconds looks as if it hung. The
/// wait ends with this object.
class waiting_note {
public:
  explicit waiting_note(const configs::properties& client,
                        std::chrono::milliseconds quiet = std::chrono::seconds{2});
  ~waiting_note();
  waiting_note(const waiting_note&) = delete;
  waiting_note& operator=(const waiting_note&) = delete;

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

/// Says that it waits for something.
void print_waiting_for(const std::string& what);

} // namespace ziyu::cli
