#include "supervision/wire/conversation.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

namespace ziyu::wire {

namespace {

template <class T, size_t I = 0>
constexpr size_t type_of() {
  if constexpr (std::is_same_v<std::variant_alternative_t<I, frame>, T>)
    return I;
  else
    return type_of<T, I + 1>();
}

/// The number that an answer repeats from its question.
uint64_t number_of(const frame& x) {
  if (const auto answer = std::get_if<result>(&x))
    return answer->attempt_id;
  if (const auto answer = std::get_if<profiled>(&x))
    return answer->what;
  return 0;
}

} // namespace

void conversation::tell(std::string_view encoded) {
  const auto head = decode_header(encoded);
  if (!head)
    return; // Ziyu did not encode this frame.
  const auto body = encoded.substr(header_size);
  question next;
  if (head->type == type_of<batch>()) {
    // The body begins with attempt_id, top_k and the number of jobs.
    constexpr size_t jobs_at = sizeof next.number + sizeof(uint32_t);
    next.answer = type_of<result>();
    if (body.size() >= jobs_at + sizeof next.jobs) {
      std::memcpy(&next.number, body.data(), sizeof next.number);
      std::memcpy(&next.jobs, body.data() + jobs_at, sizeof next.jobs);
    }
  } else if (head->type == type_of<profile>()) {
    next.answer = type_of<profiled>();
    next.number = body.empty() ? 0 : static_cast<uint8_t>(body.front());
  } else if (head->type == type_of<trim>()) {
    next.answer = type_of<trimmed>();
  } else {
    return; // a frame without an answer
  }
  open_.push_back(next);
}

expected<void> conversation::hear(const frame& x) {
  const auto type = x.index();
  const std::string name = name_of(type);
  if (std::holds_alternative<ready>(x)) {
    if (std::exchange(ready_, true))
      return fail(errc::bad_frame, "the worker said twice that it is ready");
    return {};
  }
  if (!ready_)
    return fail(errc::bad_frame, "the worker sent \"" + name + "\" before it was ready");
  if (open_.empty())
    return fail(errc::bad_frame, "the worker sent \"" + name + "\", which answers no question");
  const auto& asked = open_.front();
  if (asked.answer != type || asked.number != number_of(x))
    return fail(errc::bad_frame, "the worker sent \"" + name + "\" (" + std::to_string(number_of(x))
                                   + ") where it was asked for \"" + name_of(asked.answer) + "\" ("
                                   + std::to_string(asked.number) + ")");
  if (const auto answer = std::get_if<result>(&x); answer && answer->answers.size() != asked.jobs)
    return fail(errc::bad_frame, "the worker answered " + std::to_string(answer->answers.size())
                                   + " jobs of a batch of " + std::to_string(asked.jobs));
  open_.pop_front();
  return {};
}

} // namespace ziyu::wire
