#pragma once

#include "messaging/commit_point.hpp"
#include "messaging/delivery/ledger_report.hpp"

#include <deque>
#include <map>
#include <set>

namespace ziyu::messaging {

/// Where a fetched record stands. Only the last three are final.
enum class record_state : uint8_t {
  queued,        ///< Waits in the dispatcher.
  running,       ///< At a worker.
  publishing,    ///< Its result or dead letter is at the producer.
  done,          ///< Its result has a delivery report.
  dead_lettered, ///< Its dead letter has a delivery report.
  handed_back,   ///< Its partition was taken from us, or we stop: another owner does it.
};

std::string_view to_string(record_state x) noexcept;

/// What `offset_ledger::fetched` decides for a record.
enum class arrival : uint8_t {
  fresh,        ///< To be done here.
  already_done, ///< Finished before, by an earlier owner of the partition: nothing to do.
  refused,      ///< Of a stale epoch, or fetched before: not counted.
};

/// How many offsets `begun_below` is ahead of the highest fetched offset: four times what is
/// fetched while a commit is on its way, within these bounds, so that no job waits for a commit. It
/// is no more because all of them may become suspects.
struct lookahead {
  int64_t least = 64, most = 2'048;
};

/// Accounts for every fetched offset per (topic, partition, assignment epoch). Knows what may be
/// committed: the contiguous prefix of finished offsets and a map of those beyond it. Knows
/// which attempts are on record. Pure: no I/O, no clock. Not thread-safe; lives in the
/// dispatcher.
///
/// Attempts on record: a job may kill the whole service, and the next owner of its partition must
/// learn that. A first attempt begins only below the `begun_below` of an acknowledged commit. That
/// mark runs ahead of what is fetched, so that no job waits for it. When an owner dies, the open
/// records below the mark are suspects of the next owner. The attempts at suspects, and all
/// attempts after a failed one, begin only when a commit that announces them has been acknowledged.
/// An owner that ends in good order leaves no suspects.
class offset_ledger {
public:
  using balance = ledger_balance;

  explicit offset_ledger(lookahead x = {}) : lookahead_(x) {}

  /// Starts an assignment of `where`. Replaces an older assignment, whose open records count as
  /// handed back.
  /// @param found What was committed, if that is known.
  void assign(const topic_partition& where, uint64_t epoch,
              const std::optional<committed_state>& found = std::nullopt);

  /// Ends the assignment of `where`; returns the open records, now handed back.
  std::vector<record_id> revoke(const topic_partition& where);

  /// True if `where` is assigned under `epoch`: only then does work on it count.
  bool owns(const topic_partition& where, uint64_t epoch) const;

  /// The epoch under which `where` is assigned; nothing when it is not assigned.
  std::optional<uint64_t> epoch_of(const topic_partition& where) const;

  /// A record was fetched. @param leader_epoch As in `record`.
  arrival fetched(const record_id& id, uint64_t epoch, int32_t leader_epoch = -1);

  /// Moves a record to its next state. False when the epoch is stale or the record is final: the
  /// caller then drops the outcome.
  bool advance(const record_id& id, uint64_t epoch, record_state to);

  // -- attempts ---------------------------------------------------------------------

  /// Attempts that an open record has used up: those that failed here, and those that earlier
  /// owners announced and did not survive.
  uint32_t spent_attempts(const record_id& id) const;

  /// True if an earlier owner died during an attempt at this record. Such a record should run while
  /// no other such record runs.
  bool killed_an_owner(const record_id& id) const;

  /// An attempt has failed: it is used up.
  void fail_attempt(const record_id& id, uint64_t epoch);

  /// Whether the next attempt at an open record is on record. If not, call `announce` and ask again
  /// when a commit has been acknowledged.
  bool may_begin(const record_id& id) const;

  /// Puts the next attempt at an open record on the next commit. True if that changes the commit;
  /// false when it is announced already or needs no announcement.
  bool announce(const record_id& id);

  // -- commits ----------------------------------------------------------------------

  /// The next commit point of `where`, if it differs from what is committed or on its way.
  /// @param finishing Offsets of open records that are committed as finished in one transaction
  /// with their results: `advance` follows when the transaction has succeeded.
  std::optional<commit_point> take_progress(const topic_partition& where,
                                            const std::set<int64_t>& finishing = {});

  /// Whether `take_progress` may return a point, and whether a record waits for its commit.
  bool has_progress(const topic_partition& where) const;
  bool is_urgent(const topic_partition& where) const;

  /// The commit point taken last was not committed: it will be offered again.
  void progress_lost(const topic_partition& where);

  /// The commit before the partition goes in good order: none of our attempts runs on. Nothing if
  /// that is committed already.
  std::optional<commit_point> farewell(const topic_partition& where,
                                       const std::set<int64_t>& finishing = {});

  /// A commit point of `where` has been acknowledged.
  void committed(const topic_partition& where, uint64_t epoch, uint64_t version);

  /// Whether a raised `begun_below` of `where` has not been acknowledged yet.
  bool awaits_mark(const topic_partition& where) const;

  /// First attempts of `where` begin from now on without an acknowledged commit, since the wait was
  /// too long. True if any attempt had been waiting.
  bool begin_unrecorded(const topic_partition& where);

  /// Whether the map of `where` needs 75 % of a commit's metadata or more, so that no new records
  /// should be taken. False while fetching is below the end of the restored map: those records are
  /// always taken.
  bool congested(const topic_partition& where) const;

  // -- the account ------------------------------------------------------------------

  balance total() const; ///< Over all epochs since the start.

  /// Where an assigned partition stands.
  struct progress {
    uint64_t in_flight = 0;
    int64_t fetch_next = -1; ///< Behind the highest offset fetched or committed; -1: neither.
  };
  /// Nothing when `where` is not assigned.
  std::optional<progress> progress_of(const topic_partition& where) const;

  /// An internal error in the account, or empty.
  std::string audit() const;

  ledger_report report() const;

private:
  struct open_record {
    record_state state = record_state::queued;
    uint32_t spent = 0;
    uint32_t announced = 0;    ///< Number of the attempt that is on its way to the metadata.
    uint64_t announced_at = 0; ///< The first version that has it.
    bool killed_an_owner = false;
  };
  struct partition {
    uint64_t epoch = 0;
    bool assigned = false;
    int64_t next = -1;    ///< Lowest offset not finished; -1 before it is known.
    int64_t highest = -1; ///< Highest offset fetched; `next` - 1 before the first.
    bool any_fetched = false;
    std::map<int64_t, open_record> open; ///< Fetched, not finished; also those handed back.
    offset_map restored;                 ///< The restored map, as far as it is beyond `highest`.
    int64_t suspects_below = -1;
    std::string ignored; ///< Why the metadata that was found was not used.
    // The `begun_below` of commits, and since which version.
    int64_t begun_below = -1, durable_begun_below = -1;
    uint64_t begun_at = 0;
    int64_t ahead = 0;       ///< As in `lookahead`.
    int64_t raised_from = 0; ///< `highest` when `begun_below` was raised last.
    uint64_t version = 0, offered = 0, durable = 0;
    int64_t offered_next = -1, durable_next = -1;
    std::string offered_map; ///< The map offered last, as metadata.
    std::optional<std::string> durable_map;
    bool urgent = false;
    size_t map_bytes = 0; ///< At the latest offer.
    /// The first offset of each leader's records, as far as commits may need it.
    std::map<int64_t, int32_t> leader_epochs;
    balance sums; ///< Of this epoch.
  };
  struct account {
    topic_partition where;
    uint64_t epoch = 0;
    balance sums;
  };

  partition* owned(const topic_partition& where, uint64_t epoch);
  const partition* current(const topic_partition& where) const;
  open_record* find(const record_id& id);
  const open_record* find(const record_id& id) const;
  static bool is_suspect(const partition& x, int64_t offset, const open_record& r);
  void extend(partition& x);
  static void settle_prefix(partition& x);
  void settle_version(partition& x, uint64_t version) const;
  static int32_t leader_epoch_below(const partition& x, int64_t offset);
  static offset_map map_of(const partition& x, bool leaving);
  std::optional<commit_point> point_of(partition& x, const std::set<int64_t>& finishing,
                                       bool leaving) const;

  lookahead lookahead_;
  std::map<topic_partition, partition> partitions_;
  std::deque<account> ended_; ///< The latest epochs that have ended.
  balance ended_sums_;        ///< Of all epochs that have ended.
};

} // namespace ziyu::messaging
