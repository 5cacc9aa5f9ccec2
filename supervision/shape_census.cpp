#include "supervision/shape_census.hpp"

#include <algorithm>
#include <utility>

namespace ziyu::supervision {

namespace {

uint64_t scramble(uint64_t x) {
  x ^= x >> 31;
  x *= 0x9e3779b97f4a7c15;
  return x ^ (x >> 29);
}

} // namespace

shape_census::shape_census(size_t capacity) : capacity_(capacity), table_(8) {
  // nop
}

shape_census::entry& shape_census::locate(uint64_t key) {
  auto at = scramble(key) & (table_.size() - 1);
  while (table_[at].visits > 0 && table_[at].key != key)
    at = (at + 1) & (table_.size() - 1);
  return table_[at];
}

uint32_t shape_census::visit(uint64_t key) {
  ++jobs_;
  auto* x = &locate(key);
  if (x->visits == 0) {
    ++distinct_;
    ++once_;
    if (used_ >= capacity_)
      return 1;
    if (2 * (used_ + 1) > table_.size()) {
      auto old = std::exchange(table_, std::vector<entry>(table_.size() * 2));
      for (const auto& e : old)
        if (e.visits > 0)
          locate(e.key) = e;
      x = &locate(key);
    }
    ++used_;
    x->key = key;
  } else if (x->visits == 1) {
    --once_;
    ++twice_;
  } else if (x->visits == 2) {
    --twice_;
  }
  x->visits = std::min<uint32_t>(x->visits + 1, UINT32_MAX - 1);
  return x->visits;
}

double shape_census::expected() const {
  const auto one = static_cast<double>(once_);
  return static_cast<double>(distinct_)
         + one * std::max(one - 1, 0.) / (2. * (static_cast<double>(twice_) + 1));
}

double shape_census::unseen() const {
  return jobs_ == 0 ? 1 : static_cast<double>(once_) / static_cast<double>(jobs_);
}

} // namespace ziyu::supervision
