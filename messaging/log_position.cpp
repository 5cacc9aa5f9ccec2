#include "messaging/log_position.hpp"

#include <algorithm>
#include <utility>

namespace ziyu::messaging {

void log_position::begin(int64_t next, int32_t leader_epoch) {
  next_ = next;
  past_last_ = -1;
  leader_epoch_ = leader_epoch;
  gap_.reset();
}

void log_position::restart(int64_t next) {
  begin(next);
  past_last_ = next;
}

log_position::verdict log_position::see(int64_t offset, int32_t leader_epoch) {
  const auto known = leader_epoch >= 0 && leader_epoch_ >= 0;
  // Leader epochs never fall within one log.
  if (known && leader_epoch < leader_epoch_)
    return verdict::made_anew;
  if (offset + 1 < past_last_)
    return verdict::went_back;
  const auto again = offset < past_last_;
  // A later leader has put another record at the offset of the latest one.
  if (again && known && leader_epoch > leader_epoch_)
    return verdict::went_back;
  if (next_ >= 0 && offset > next_)
    pass_over(offset);
  past_last_ = next_ = offset + 1;
  leader_epoch_ = leader_epoch;
  return again ? verdict::repeat : verdict::next;
}

void log_position::see_end(int64_t offset) {
  if (next_ >= 0 && offset > next_)
    pass_over(offset);
  next_ = std::max(next_, offset);
}

void log_position::pass_over(int64_t to) {
  if (!gap_)
    gap_ = gap{next_, to};
  gap_->past = to;
}

std::optional<log_position::gap> log_position::take_gap() { return std::exchange(gap_, {}); }

} // namespace ziyu::messaging
