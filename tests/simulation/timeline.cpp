#include "tests/simulation/timeline.hpp"

#include <limits>

namespace ziyu::simulation {

timeline::timeline(const scenario& x) : plan_(x), chance_(x.seed, "chance") {
  streams_.reserve(fault_count);
  for (size_t i = 0; i < fault_count; ++i)
    streams_.emplace_back(x.seed, to_string(static_cast<fault>(i)));
}

void timeline::after_us(int64_t us, task x) {
  due_.push({now_ + std::max<int64_t>(us, 0), numbers_++, std::move(x)});
}

int64_t timeline::next_due() const {
  return due_.empty() ? std::numeric_limits<int64_t>::max() : due_.top().due;
}

void timeline::run_next() {
  // The queue gives out constants only; the task is not part of its order.
  auto x = std::move(const_cast<entry&>(due_.top()));
  due_.pop();
  move_to(x.due);
  x.run();
}

bool timeline::strikes(fault x, uint64_t n) { return !calm_ && plan_.has(x) && of(x).one_in(n); }

void timeline::violate(const char* promise, std::string what) {
  note("VIOLATION {}: {}", std::string_view{promise}, std::string_view{what});
  violations_.push_back({promise, std::move(what), now_});
}

} // namespace ziyu::simulation
