#include "messaging/send_groups.hpp"

#include <algorithm>

namespace ziyu::messaging {

bool send_groups::open(time_point now) {
  std::erase_if(out_, [&](const group& x) { return x.left == 0 || now - x.since >= patience_; });
  return out_.size() < most_;
}

uint64_t send_groups::add(time_point now) {
  if (closed_ || out_.empty())
    out_.push_back({++last_, 0, now});
  closed_ = false;
  ++out_.back().left;
  return last_;
}

void send_groups::settle(uint64_t number) {
  const auto i = std::find_if(out_.begin(), out_.end(),
                              [number](const group& x) { return x.number == number; });
  if (i != out_.end())
    --i->left;
}

} // namespace ziyu::messaging
