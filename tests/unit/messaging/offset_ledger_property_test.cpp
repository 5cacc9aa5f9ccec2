// Random schedules of everything that can happen to a ledger, each step compared with
// a model that is too simple to be wrong: it keeps every record and recomputes all.

#include "messaging/offset_ledger.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

using namespace ziyu::messaging;

namespace {

bool is_final(record_state x) { return x >= record_state::done; }
bool is_finished(record_state x) {
  return x == record_state::done || x == record_state::dead_lettered;
}

/// One partition as a broker and an all-remembering bookkeeper see it.
struct model_partition {
  std::vector<int64_t> log;   ///< The offsets that exist, with gaps.
  int64_t committed = 0;      ///< What the broker would hand the next owner.
  std::set<int64_t> finished; ///< Offsets whose outcome is published, in any epoch.
  bool assigned = false;      ///< …and the rest is of this assignment:
  uint64_t epoch = 0;         //
  size_t position = 0;        ///< Next index into `log` to fetch.
  int64_t reported = -1;      ///< Beginning, or last value of take_committable.
  std::map<int64_t, record_state> records;

  std::vector<int64_t> open() const {
    std::vector<int64_t> result;
    for (const auto& [offset, state] : records)
      if (!is_final(state))
        result.push_back(offset);
    return result;
  }

  /// The first offset that is not finished; the one after the last if all are.
  int64_t next() const {
    for (const auto& [offset, state] : records)
      if (!is_finished(state))
        return offset;
    return records.rbegin()->first + 1;
  }

  /// Index into `log` of where a consumer goes on that starts at `offset`: in a gap it
  /// makes no difference where.
  ptrdiff_t place(int64_t offset) const {
    return std::lower_bound(log.begin(), log.end(), offset) - log.begin();
  }
};

class schedule {
public:
  explicit schedule(uint64_t seed) : random_(seed) {
    for (int32_t i = 0; i < 3; ++i) {
      auto& x = partitions_[{"t", i}];
      int64_t offset = static_cast<int64_t>(below(3));
      while (x.log.size() < 40) {
        x.log.push_back(offset);
        offset += below(4) == 0 ? 1 + static_cast<int64_t>(below(5)) : 1;
      }
    }
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      step();
      check();
    }
  }

  uint64_t commits() const { return commits_; }
  const offset_ledger::balance& sums() const { return sums_; }

private:
  size_t below(size_t n) { return random_() % n; }

  void step() {
    auto i = partitions_.begin();
    std::advance(i, below(partitions_.size()));
    const auto& where = i->first;
    auto& x = i->second;
    switch (below(20)) {
    case 0: assign(where, x); break;
    case 1:
      if (below(3) == 0)
        revoke(where, x);
      break;
    case 2: fetch_wrongly(where, x); break;
    case 3: advance_wrongly(where, x); break;
    case 4:
    case 5:
    case 6: commit(where, x); break;
    case 7:
    case 8:
    case 9:
    case 10:
    case 11: fetch(where, x); break;
    default: advance(where, x); break;
    }
  }

  void give_up(model_partition& x) {
    sums_.handed_back += x.open().size();
    sums_.in_flight -= x.open().size();
    x.records.clear();
    x.assigned = false;
  }

  void assign(const topic_partition& where, model_partition& x) {
    ledger_.assign(where, ++epoch_);
    give_up(x);
    x.assigned = true;
    x.epoch = epoch_;
    x.reported = -1;
    x.position = 0; // as Kafka: go on where the commit is
    while (x.position < x.log.size() && x.log[x.position] < x.committed)
      ++x.position;
  }

  void revoke(const topic_partition& where, model_partition& x) {
    std::vector<int64_t> got;
    for (const auto& id : ledger_.revoke(where)) {
      ASSERT_EQ(id.where(), where);
      got.push_back(id.offset);
    }
    ASSERT_EQ(got, x.open());
    give_up(x);
  }

  void fetch(const topic_partition& where, model_partition& x) {
    if (!x.assigned || x.position == x.log.size())
      return;
    const auto offset = x.log[x.position++];
    ASSERT_TRUE(ledger_.fetched({where.topic, where.partition, offset}, x.epoch));
    if (x.records.empty())
      x.reported = offset;
    x.records[offset] = record_state::queued;
    ++sums_.fetched;
    ++sums_.in_flight;
  }

  /// Under another epoch, or a record that was fetched before.
  void fetch_wrongly(const topic_partition& where, model_partition& x) {
    auto offset = x.log[below(x.log.size())];
    auto epoch = below(epoch_ + 2);
    if (!x.records.empty() && below(2) == 0) {
      offset = static_cast<int64_t>(below(static_cast<size_t>(x.records.rbegin()->first) + 1));
      epoch = x.epoch;
    } else if (x.assigned && epoch == x.epoch) {
      return;
    }
    ASSERT_FALSE(ledger_.fetched({where.topic, where.partition, offset}, epoch));
  }

  void advance(const topic_partition& where, model_partition& x) {
    const auto open = x.open();
    if (open.empty())
      return;
    // Mostly the older ones, as in life; all of them sometimes.
    const auto offset = open[below(below(4) == 0 ? open.size() : std::min<size_t>(open.size(), 3))];
    static constexpr record_state states[] = {
      record_state::queued, record_state::running,       record_state::publishing,
      record_state::done,   record_state::dead_lettered, record_state::done,
      record_state::done,   record_state::dead_lettered};
    auto to = states[below(std::size(states))];
    if (below(60) == 0)
      to = record_state::handed_back;
    ASSERT_TRUE(ledger_.advance({where.topic, where.partition, offset}, x.epoch, to));
    x.records[offset] = to;
    if (!is_final(to))
      return;
    --sums_.in_flight;
    ++(to == record_state::done            ? sums_.published
       : to == record_state::dead_lettered ? sums_.dead_lettered
                                           : sums_.handed_back);
    if (is_finished(to))
      x.finished.insert(offset);
  }

  /// Of another epoch, of a final record, or of one that was never fetched.
  void advance_wrongly(const topic_partition& where, model_partition& x) {
    const auto offset = static_cast<int64_t>(below(100));
    const auto epoch = below(epoch_ + 2);
    const auto i = x.records.find(offset);
    if (x.assigned && epoch == x.epoch && i != x.records.end() && !is_final(i->second))
      return;
    const auto to = static_cast<record_state>(below(6));
    ASSERT_FALSE(ledger_.advance({where.topic, where.partition, offset}, epoch, to));
  }

  void commit(const topic_partition& where, model_partition& x) {
    const auto got = ledger_.take_committable(where);
    if (!x.assigned || x.records.empty()) {
      ASSERT_FALSE(got);
      return;
    }
    // Neither too far nor less than could be.
    ASSERT_EQ(x.place(got.value_or(x.reported)), x.place(x.next()));
    if (!got)
      return;
    ASSERT_GT(*got, x.reported) << "never backwards";
    ++commits_;
    x.reported = *got;
    x.committed = *got;
    // The promise itself: whoever goes on from here misses nothing.
    for (auto offset : x.log)
      if (offset < *got) {
        ASSERT_TRUE(x.finished.contains(offset)) << offset << " would be lost";
      }
  }

  void check() {
    const auto sum = ledger_.total();
    ASSERT_TRUE(sum.balanced());
    ASSERT_EQ(sum.fetched, sums_.fetched);
    ASSERT_EQ(sum.published, sums_.published);
    ASSERT_EQ(sum.dead_lettered, sums_.dead_lettered);
    ASSERT_EQ(sum.handed_back, sums_.handed_back);
    ASSERT_EQ(sum.in_flight, sums_.in_flight);
    for (const auto& [where, x] : partitions_) {
      ASSERT_EQ(ledger_.owns(where, x.epoch), x.assigned);
      ASSERT_FALSE(ledger_.owns(where, epoch_ + 1));
    }
  }

  std::mt19937_64 random_;
  offset_ledger ledger_;
  std::map<topic_partition, model_partition> partitions_;
  offset_ledger::balance sums_;
  uint64_t epoch_ = 0, commits_ = 0;
};

} // namespace

TEST(OffsetLedgerProperty, NoScheduleCommitsBeyondAnOpenRecordOrLosesCount) {
  uint64_t commits = 0, published = 0, dead = 0, handed_back = 0;
  for (uint64_t seed = 1; seed <= 2'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    schedule x{seed};
    x.run(200);
    ASSERT_FALSE(HasFatalFailure());
    commits += x.commits();
    published += x.sums().published;
    dead += x.sums().dead_lettered;
    handed_back += x.sums().handed_back;
  }
  // The schedules did go through all of it.
  EXPECT_GT(commits, 5'000u);
  EXPECT_GT(published, 10'000u);
  EXPECT_GT(dead, 10'000u);
  EXPECT_GT(handed_back, 10'000u);
}
