#include "supervision/pool/standby_supply.hpp"

#include <gmock/gmock.h>

namespace ziyu::supervision {

namespace {

using demand = standby_supply::demand;
using candidate = standby_supply::candidate;
using pairs = std::vector<std::pair<uint32_t, uint64_t>>;

constexpr bool empty = true, served = false, ready = true, coming = false;

TEST(StandbySupply, ForksForEachEmptySlotAndForTheStandbys) {
  const standby_supply aut{1};
  const std::vector<demand> slots{{0, 1, empty, 0}, {1, 1, empty, 0}, {2, 1, served}};
  EXPECT_EQ(aut.missing(1, slots, {}), 3u);
  EXPECT_EQ(aut.missing(1, slots, {{7, 1, ready}, {8, 1, coming}}), 1u);
  EXPECT_EQ(aut.missing(1, slots, {{7, 1}, {8, 1}, {9, 1}, {10, 1}}), 0u) << "one too many";
}

TEST(StandbySupply, CountsEachVersionForItself) {
  const standby_supply aut{1};
  const std::vector<demand> slots{{0, 2, empty, 0}, {1, 2, served}};
  EXPECT_EQ(aut.missing(2, slots, {{7, 1, ready}}), 2u) << "a standby of another version is none";
  EXPECT_EQ(aut.missing(1, slots, {{7, 1, ready}}), 0u);
}

TEST(StandbySupply, ServesFirstWhoTakesNoJobThenWhoHasTheFewestJobsLeft) {
  const std::vector<demand> slots{
    {0, 1, served, 40}, {1, 1, served}, {2, 1, served, 3}, {3, 1, empty, 0}};
  EXPECT_EQ(standby_supply::assign(slots, {{7, 1, ready}}), (pairs{{3, 7}}));
  EXPECT_EQ(standby_supply::assign(slots, {{7, 1, ready}, {8, 1, ready}}), (pairs{{3, 7}, {2, 8}}));
  EXPECT_EQ(
    standby_supply::assign(slots, {{7, 1, ready}, {8, 1, ready}, {9, 1, ready}, {10, 1, ready}}),
    (pairs{{3, 7}, {2, 8}, {0, 9}}))
    << "slot 1 waits for nobody";
}

TEST(StandbySupply, GivesASlotOnlyAReadyWorkerOfItsVersion) {
  const std::vector<demand> slots{{0, 2, empty, 0}, {1, 1, empty, 0}};
  EXPECT_EQ(standby_supply::assign(slots, {{7, 1, ready}, {8, 2, coming}}), (pairs{{1, 7}}));
}

TEST(StandbySupply, PrefersTheLowerSlotAtEqualNeed) {
  const std::vector<demand> slots{{5, 1, empty, 0}, {4, 1, empty, 0}};
  EXPECT_EQ(standby_supply::assign(slots, {{7, 1, ready}}), (pairs{{4, 7}}));
}

} // namespace

} // namespace ziyu::supervision
