#include "supervision/backoff.hpp"

#include <algorithm>

namespace ziyu::supervision {

backoff::backoff(duration initial, duration max) : initial_(initial), max_(max) {
  // nop
}

backoff::duration backoff::next(uint64_t random) {
  const auto doublings = std::min<uint32_t>(attempts_++, 30);
  const auto cap = std::min<int64_t>(max_.count(), initial_.count()
                                                     << std::min<uint32_t>(doublings, 30));
  const auto half = std::max<int64_t>(cap / 2, 1);
  return duration{cap - half + static_cast<int64_t>(random % static_cast<uint64_t>(half + 1))};
}

void backoff::reset() { attempts_ = 0; }

} // namespace ziyu::supervision
