#pragma once

#include "supervision/wire/frames.hpp"

#include <cstdint>
#include <deque>

namespace ziyu::wire {

/// What a worker may say next. A worker says `ready` once, and then answers questions in the order
/// in which they were asked. A frame that answers no question is refused, whatever it holds. So a
/// worker cannot make the control process act unasked. Pure. Not thread-safe.
class conversation {
public:
  /// Notes an encoded frame that goes to the worker.
  void tell(std::string_view encoded);

  /// Checks a frame that came from the worker; `errc::bad_frame` if it answers no question.
  expected<void> hear(const frame& x);

  size_t open_questions() const { return open_.size(); }

private:
  struct question {
    size_t answer = 0;   ///< The type of the answer, an index into `frame`.
    uint64_t number = 0; ///< The answer repeats it: an attempt's number, or what to profile.
    uint32_t jobs = 0;   ///< Of a batch: the answer has as many parts.
  };

  bool ready_ = false;
  std::deque<question> open_;
};

} // namespace ziyu::wire
