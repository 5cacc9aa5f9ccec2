#pragma once

#include "wire/frames.hpp"

#include <cstdint>
#include <deque>

namespace ziyu::wire {

/// What a worker may say next. It says `ready` once, and then answers questions in the order
/// in which they were asked: a frame that answers none is refused, whatever it holds. So a
/// worker cannot make the control process act on its own. Pure. Not thread-safe.
class conversation {
public:
  /// A frame goes to the worker, encoded.
  void tell(std::string_view encoded);

  /// A frame came from the worker; `errc::bad_frame` if it answers no question.
  expected<void> hear(const frame& x);

  size_t open_questions() const { return open_.size(); }

private:
  struct question {
    size_t answer = 0;   ///< The type that answers it, index into `frame`.
    uint64_t number = 0; ///< Repeated by the answer: of an attempt, or what to profile.
  };

  bool ready_ = false;
  std::deque<question> open_;
};

} // namespace ziyu::wire
