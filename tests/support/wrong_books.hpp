#pragma once

#include "messaging/delivery/offset_ledger.hpp"

namespace ziyu::test {

/// Adds `by` to the ledger's count of fetched records of `where` in its present epoch, as an error
/// in the ledger might. No public function of the ledger can cause this.
void miscount(messaging::offset_ledger& x, const messaging::topic_partition& where, int64_t by);

/// As `miscount`, for the sum of all ended epochs.
void miscount_ended(messaging::offset_ledger& x, int64_t by);

template <auto Partitions, auto EndedSums>
struct wrong_books {
  friend void miscount(messaging::offset_ledger& x, const messaging::topic_partition& where,
                       int64_t by) {
    (x.*Partitions).at(where).sums.fetched += static_cast<uint64_t>(by);
  }
  friend void miscount_ended(messaging::offset_ledger& x, int64_t by) {
    (x.*EndedSums).fetched += static_cast<uint64_t>(by);
  }
};

// An explicit instantiation may name private members.
template struct wrong_books<&messaging::offset_ledger::partitions_,
                            &messaging::offset_ledger::ended_sums_>;

} // namespace ziyu::test
