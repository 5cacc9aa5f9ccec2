#pragma once

#include "messaging/offset_ledger.hpp"

namespace ziyu::test {

/// Adds `by` to what the ledger says it has fetched of `where` in its present epoch, as an
/// error in the ledger might: nothing that others can ask of it puts it in the wrong.
void miscount(messaging::offset_ledger& x, const messaging::topic_partition& where, int64_t by);

/// The same for the sum of all epochs that are over.
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

// An explicit instantiation may name what is private.
template struct wrong_books<&messaging::offset_ledger::partitions_,
                            &messaging::offset_ledger::ended_sums_>;

} // namespace ziyu::test
