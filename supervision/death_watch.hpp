#pragma once

#include "supervision/wire/life_line.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

namespace ziyu::supervision {

/// Tells when workers begin to end, on a thread of its own that waits for all of their life lines
/// (futex_waitv(2), Linux 5.16). Where the kernel refuses that, it tells nothing: a worker's socket
/// shows its end some milliseconds later. Thread-safe.
class death_watch {
public:
  death_watch() = default;
  ~death_watch();
  death_watch(const death_watch&) = delete;
  death_watch& operator=(const death_watch&) = delete;

  /// Calls `then` once, on the watch's thread, when the holder of `line` begins to end. `then` must
  /// not use the watch. Lines beyond `most` are not watched.
  void watch(uint64_t worker, wire::life_line line, std::function<void()> then);

  /// A call of `then` may be under way.
  void forget(uint64_t worker);

  /// Why the kernel refuses to wait for several words; empty when it does not.
  static std::string trouble();

  /// A wait takes 128 words; one is ours.
  static constexpr size_t most = 127;

private:
  struct entry {
    wire::life_line line;
    std::function<void()> then;
    bool forgotten = false;
  };
  void run();
  void look();              ///< Calls those that are due, and drops them and the forgotten ones.
  bool wait(uint32_t seen); ///< False when the kernel refuses to wait.
  void change();

  std::mutex mutex_;
  std::map<uint64_t, entry> entries_; ///< Only the thread erases: the kernel may use their words.
  bool stopping_ = false, refused_ = false;
  uint32_t changes_ = 0; ///< Waited for like the words of life lines.
  std::thread thread_;   ///< Runs from the first line on.
};

} // namespace ziyu::supervision
