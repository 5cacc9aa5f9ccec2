#pragma once

#include "messaging/events/event.hpp"
#include "supervision/leak_judge.hpp"
#include "supervision/restart_intensity.hpp"
#include "supervision/stack_book.hpp"

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// From heap dumps to causes: names the leak of each worker by its call stacks.
///
/// Stacks that were named before are recognised at once. Dumps with other stacks wait for a helper
/// process, one at a time, and replacements of their workers wait (for a bounded time) for the
/// cause. Pure: the caller hands dumps to the helper, emits the events that are returned, and
/// passes the time. Not thread-safe; bounded memory.
class leak_desk {
public:
  using clock = std::chrono::steady_clock;

  struct settings {
    /// How often the leak of one slot is explained anew if its growth is alike.
    std::chrono::milliseconds explain_interval{60'000};
  };

  /// A worker's heap dump, with what is known about the worker.
  struct dump {
    events::evidence worker;
    double growth_per_job = 0; ///< 0: none.
    leak_request request;
    uint32_t random = 0; ///< Becomes a part of the report's id.
  };

  explicit leak_desk(settings x) : settings_(x) {}

  /// Growth per job of a worker, for `growth_per_job` and `is_explained`.
  static double growth_of(const leak_judge::verdict& x);

  /// Whether the slot's present leak has been explained lately.
  bool is_explained(uint32_t slot, double growth_per_job, clock::time_point now) const;

  /// Whether a dump of this worker waits, or is with the helper.
  bool is_under_way(uint32_t slot, uint64_t generation) const;

  /// Whether the pause since the latest dump is over. So a worker that is replaced every few jobs
  /// is not dumped each time.
  bool may_dump(int64_t now_us) const { return now_us >= next_dump_us_; }

  /// @param cost_us The time that a dump took, of the worker and of the control process.
  void note_dump(int64_t cost_us, int64_t now_us);

  /// Names the leak, or files the dump for a helper. Drops it if the leak is explained already, or
  /// too many dumps wait.
  void take(dump x, clock::time_point now, int64_t now_us);

  /// Finishes the dumps at the front whose stacks have become known since they were filed. Returns
  /// the replacements that waited for them.
  std::vector<events::body> finish_recognised();

  /// The dump to hand to a helper now; null: there is none, or a helper is at work. To be answered
  /// with `handed_over`, or with `finish` if there is no helper.
  const leak_request* to_hand_over() const;
  void handed_over(uint64_t number);

  /// The number of the helper at work.
  std::optional<uint64_t> at_work() const;

  /// Whether the helper at work has used up its time.
  bool is_late(clock::time_point now) const;

  bool idle() const { return filed_.empty(); }

  /// The dump at the front is explained, or stays unexplained. Returns the report and the
  /// replacements that waited for it.
  std::vector<events::body> finish(const expected<leak_report>& found, clock::time_point now,
                                   int64_t now_us);

  /// The slot of the dump at the front. Not if `idle`.
  uint32_t slot_in_front() const;

  /// Gives a replacement its cause. Empty: it waits for its worker's dump, and comes with
  /// `finish` or `finish_recognised`.
  std::optional<events::worker_replaced> name(events::worker_replaced x, clock::time_point now);

  /// In workers of a new fork server the code is at other addresses.
  void forget_addresses() { stacks_.clear(); }

private:
  /// The cause of the growth of one generation of a slot's worker.
  struct leak_name {
    uint64_t generation = 0;
    std::string cause;  ///< Empty: its stacks are not known.
    std::string report; ///< The report with the numbers; may be of another worker; may be empty.
    std::vector<events::short_site> sites;
    double growth_per_job = 0; ///< Of that generation.
  };

  /// A dump that a helper reads or will read.
  struct entry {
    dump what; ///< The request is kept until it is handed over.
    std::string report;
    bool recognised = false;        ///< The report is only for its numbers.
    std::optional<uint64_t> number; ///< The helper's, once it is handed over.
    clock::time_point give_up_at{};
    int64_t asked_us = 0;
    std::vector<events::worker_replaced> waiting;
  };

  /// The latest leak of a slot that has a report.
  struct known_leak {
    leak_name name;
    clock::time_point when{};
  };

  static events::worker_replaced named(events::worker_replaced x, const leak_name& known_as);
  static events::leak_report report_of(const entry& e, const leak_report& x, int64_t now_us);
  std::optional<leak_name> recognise(const dump& x) const;
  leak_name name_of(const events::worker_replaced& x, clock::time_point now) const;
  void learn(const entry& e, const leak_name& name, clock::time_point now);
  void set_name(uint32_t slot, leak_name name);
  entry pop();

  settings settings_;
  std::deque<entry> filed_;
  std::map<uint32_t, known_leak> known_leaks_; ///< By slot.
  std::map<uint32_t, leak_name> names_;        ///< By slot: of its latest worker with a dump.
  std::map<std::string, leak_name> reports_;   ///< By id.
  std::deque<std::string> report_order_;       ///< Of `reports_`, the oldest first.
  stack_book stacks_;
  restart_intensity helpers_{max_helpers, helper_period};
  int64_t next_dump_us_ = 0;

  /// Bound for helpers: each takes a core for a tenth of a second to a second.
  static constexpr size_t max_helpers = 20;
  static constexpr std::chrono::milliseconds helper_period{60'000};
};

} // namespace ziyu::supervision
