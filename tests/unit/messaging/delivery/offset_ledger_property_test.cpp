// Random schedules of everything that can happen to a ledger, its commits and the owners
// of its partitions (also their deaths), each step compared with a model that is too simple
// to be wrong: it keeps every record and recomputes all.

#include "messaging/delivery/offset_ledger.hpp"

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
  // -- the broker
  std::vector<int64_t> log; ///< The offsets that exist, with gaps.
  std::optional<commit_point> committed;
  // -- over all owners
  std::set<int64_t> finished; ///< Offsets whose outcome is published.
  // -- this assignment
  bool assigned = false;
  uint64_t epoch = 0;
  size_t position = 0;                     ///< Next index into `log` to fetch.
  std::map<int64_t, record_state> records; ///< Fetched as fresh.
  std::optional<commit_point> offered;     ///< Taken, and on its way.
  std::set<int64_t> mapped;                ///< In the map that the assignment began with.

  std::vector<int64_t> open() const {
    std::vector<int64_t> result;
    for (const auto& [offset, state] : records)
      if (!is_final(state))
        result.push_back(offset);
    return result;
  }

  offset_map map() const {
    return committed ? decode_offset_map(committed->metadata, committed->next).map : offset_map{};
  }
};

class schedule {
public:
  explicit schedule(uint64_t seed) : random_(seed) {
    for (int32_t i = 0; i < 2; ++i) {
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

  struct {
    uint64_t commits = 0, published = 0, dead_lettered = 0, handed_back = 0, already_done = 0,
             announced = 0, deaths = 0, redone = 0;
  } counts;

private:
  size_t below(size_t n) { return random_() % n; }

  static record_id id_of(const topic_partition& where, int64_t offset) {
    return {where.topic, where.partition, offset};
  }

  void step() {
    auto i = partitions_.begin();
    std::advance(i, below(partitions_.size()));
    const auto& where = i->first;
    auto& x = i->second;
    switch (below(24)) {
    case 0: assign(where, x); break;
    case 1:
      if (below(3) == 0)
        revoke(where, x);
      break;
    case 2: fetch_wrongly(where, x); break;
    case 3: advance_wrongly(where, x); break;
    case 4:
      if (below(4) == 0)
        die();
      break;
    case 5: offer(where, x); break;
    case 6:
    case 7:
    case 8:
    case 9: commit(where, x); break;
    case 10:
    case 11:
    case 12:
    case 13:
    case 14: fetch(where, x); break;
    case 15:
    case 16:
    case 17: begin(where, x); break;
    default: advance(where, x); break;
    }
  }

  void give_up(model_partition& x) {
    sums_.handed_back += x.open().size();
    counts.handed_back += x.open().size();
    sums_.in_flight -= x.open().size();
    x.records.clear();
    x.offered.reset();
    x.assigned = false;
  }

  void assign(const topic_partition& where, model_partition& x) {
    std::optional<committed_state> found;
    x.mapped.clear();
    if (x.committed && below(8) != 0) { // sometimes it cannot be read
      found.emplace();
      found->next = x.committed->next;
      found->map = x.map();
      for (const auto offset : x.log)
        if (found->map.has_finished(offset))
          x.mapped.insert(offset);
    }
    ledger_.assign(where, ++epoch_, found);
    give_up(x);
    x.assigned = true;
    x.epoch = epoch_;
    x.position = 0; // as Kafka: go on where the commit is
    while (x.committed && x.position < x.log.size() && x.log[x.position] < x.committed->next)
      ++x.position;
  }

  /// In good order, mostly.
  void revoke(const topic_partition& where, model_partition& x) {
    if (below(3) != 0)
      if (const auto point = ledger_.farewell(where)) {
        ASSERT_TRUE(x.assigned);
        arrive(*point, x);
      }
    std::vector<int64_t> got;
    for (const auto& id : ledger_.revoke(where)) {
      ASSERT_EQ(id.where(), where);
      got.push_back(id.offset);
    }
    ASSERT_EQ(got, x.open());
    give_up(x);
  }

  /// SIGKILL: what the broker does not have is lost.
  void die() {
    ++counts.deaths;
    ledger_ = offset_ledger{ahead};
    sums_ = {};
    for (auto& [where, x] : partitions_) {
      counts.handed_back -= x.open().size();
      give_up(x);
    }
    sums_ = {};
  }

  void fetch(const topic_partition& where, model_partition& x) {
    if (!x.assigned || x.position == x.log.size())
      return;
    const auto offset = x.log[x.position++];
    const auto verdict = ledger_.fetched(id_of(where, offset), x.epoch);
    ++sums_.fetched;
    if (verdict == arrival::already_done) {
      ASSERT_TRUE(x.finished.contains(offset)) << offset << " would be lost";
      ++sums_.already_done;
      ++counts.already_done;
      return;
    }
    ASSERT_EQ(verdict, arrival::fresh);
    ASSERT_FALSE(x.mapped.contains(offset)) << offset << " is done twice though the map knew";
    counts.redone += x.finished.contains(offset);
    x.records[offset] = record_state::queued;
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
    ASSERT_EQ(ledger_.fetched(id_of(where, offset), epoch), arrival::refused);
  }

  /// An attempt begins: if we die, the next owner must be able to know it.
  void begin(const topic_partition& where, model_partition& x) {
    const auto open = x.open();
    if (open.empty())
      return;
    const auto offset = open[below(open.size())];
    const auto id = id_of(where, offset);
    if (x.records[offset] != record_state::queued)
      return;
    if (!ledger_.may_begin(id)) {
      counts.announced += ledger_.announce(id);
      return;
    }
    const auto map = x.map();
    const auto spent = ledger_.spent_attempts(id);
    const auto i = map.attempts.find(offset);
    const auto on_record = i == map.attempts.end() ? 0 : i->second;
    ASSERT_TRUE(on_record > spent || (spent == 0 && map.begun_below.value_or(0) > offset))
      << "attempt " << spent + 1 << " at " << offset << " is not on record";
    ASSERT_TRUE(ledger_.advance(id, x.epoch, record_state::running));
    x.records[offset] = record_state::running;
    if (below(3) == 0) {
      ledger_.fail_attempt(id, x.epoch);
      ASSERT_EQ(ledger_.spent_attempts(id), spent + 1);
      ASSERT_TRUE(ledger_.advance(id, x.epoch, record_state::queued));
      x.records[offset] = record_state::queued;
      ASSERT_FALSE(ledger_.may_begin(id)) << "before it is announced";
    }
  }

  void advance(const topic_partition& where, model_partition& x) {
    const auto open = x.open();
    if (open.empty())
      return;
    // Mostly the older ones, as in life; all of them sometimes.
    const auto offset = open[below(below(4) == 0 ? open.size() : std::min<size_t>(open.size(), 3))];
    static constexpr record_state states[] = {
      record_state::publishing,    record_state::done, record_state::dead_lettered,
      record_state::done,          record_state::done, record_state::dead_lettered,
      record_state::dead_lettered,
    };
    auto to = states[below(std::size(states))];
    if (below(60) == 0)
      to = record_state::handed_back;
    ASSERT_TRUE(ledger_.advance(id_of(where, offset), x.epoch, to));
    x.records[offset] = to;
    if (!is_final(to))
      return;
    --sums_.in_flight;
    ++(to == record_state::done            ? sums_.published
       : to == record_state::dead_lettered ? sums_.dead_lettered
                                           : sums_.handed_back);
    counts.published += to == record_state::done;
    counts.dead_lettered += to == record_state::dead_lettered;
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
    ASSERT_FALSE(ledger_.advance(id_of(where, offset), epoch, to));
  }

  /// The Kafka client takes what is to be committed, or not.
  void offer(const topic_partition& where, model_partition& x) {
    const auto point = ledger_.take_progress(where);
    if (!point)
      return;
    ASSERT_TRUE(x.assigned);
    if (below(4) == 0)
      ledger_.progress_lost(where);
    else
      x.offered = *point; // the latest wins
  }

  void commit(const topic_partition& where, model_partition& x) {
    offer(where, x);
    if (!x.offered || below(8) == 0)
      return;
    arrive(*x.offered, x);
    if (below(6) == 0)
      return; // the answer is lost: it is sent again
    ledger_.committed(where, below(9) == 0 ? x.epoch + 1'000 : x.epoch, x.offered->version);
    x.offered.reset();
  }

  /// The broker has the commit. The promise itself: an owner that goes on from here misses nothing.
  void arrive(const commit_point& point, model_partition& x) {
    ++counts.commits;
    ASSERT_LE(point.metadata.size(), max_offset_metadata_bytes);
    const auto decoded = decode_offset_map(point.metadata, point.next);
    ASSERT_EQ(decoded.ignored, "");
    for (const auto offset : x.log)
      if (offset < point.next || decoded.map.has_finished(offset)) {
        ASSERT_TRUE(x.finished.contains(offset)) << offset << " would be lost";
      }
    x.committed = point;
  }

  void check() {
    ASSERT_EQ(ledger_.audit(), "");
    const auto sum = ledger_.total();
    ASSERT_TRUE(sum.balanced());
    ASSERT_EQ(sum.fetched, sums_.fetched);
    ASSERT_EQ(sum.published, sums_.published);
    ASSERT_EQ(sum.dead_lettered, sums_.dead_lettered);
    ASSERT_EQ(sum.handed_back, sums_.handed_back);
    ASSERT_EQ(sum.already_done, sums_.already_done);
    ASSERT_EQ(sum.in_flight, sums_.in_flight);
    for (const auto& [where, x] : partitions_) {
      ASSERT_EQ(ledger_.owns(where, x.epoch), x.assigned);
      ASSERT_FALSE(ledger_.owns(where, epoch_ + 1));
    }
  }

  static constexpr lookahead ahead{8, 32};

  std::mt19937_64 random_;
  offset_ledger ledger_{ahead};
  std::map<topic_partition, model_partition> partitions_;
  offset_ledger::balance sums_;
  uint64_t epoch_ = 0;
};

} // namespace

TEST(OffsetLedgerProperty, NoScheduleLosesARecordItsCountOrAnAttempt) {
  decltype(schedule::counts) all;
  for (uint64_t seed = 1; seed <= 4'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    schedule x{seed};
    x.run(250);
    ASSERT_FALSE(HasFatalFailure());
    all.commits += x.counts.commits;
    all.published += x.counts.published;
    all.dead_lettered += x.counts.dead_lettered;
    all.handed_back += x.counts.handed_back;
    all.already_done += x.counts.already_done;
    all.announced += x.counts.announced;
    all.deaths += x.counts.deaths;
    all.redone += x.counts.redone;
  }
  // The schedules did go through all of it.
  EXPECT_GT(all.commits, 10'000u);
  EXPECT_GT(all.published, 10'000u);
  EXPECT_GT(all.dead_lettered, 10'000u);
  EXPECT_GT(all.handed_back, 10'000u);
  EXPECT_GT(all.already_done, 2'000u);
  EXPECT_GT(all.announced, 5'000u);
  EXPECT_GT(all.deaths, 5'000u);
  EXPECT_GT(all.redone, 1'000u);
}
