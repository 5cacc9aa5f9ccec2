#include "messaging/delivery/delivery_strategy.hpp"

namespace ziyu::messaging {

std::unique_ptr<delivery_strategy> make_strategy(guarantee x, offset_ledger& ledger) {
  return x == guarantee::exactly_once ? make_exactly_once(ledger) : make_at_least_once(ledger);
}

} // namespace ziyu::messaging
