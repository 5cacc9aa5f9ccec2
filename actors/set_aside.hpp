#pragma once

#include "actors/protocol.hpp"
#include "messaging/events/kafka_events.hpp"
#include "supervision/backoff.hpp"

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::actors {

/// Results and dead letters that cannot be delivered at present, while others can: their topic is
/// missing, forbidden or without a leader, or the broker refuses this one record. They wait here,
/// so that no other record waits for them. From time to time one record of each topic is tried
/// again. Pure: the caller passes the time and random numbers.
class set_aside {
public:
  using clock = std::chrono::steady_clock;

  /// The pause between two tries of a topic or record: doubles from the first to the last value.
  static constexpr std::chrono::milliseconds first_pause{1'000}, longest_pause{30'000};

  /// Records that go on again.
  struct release {
    error reason; ///< Why they waited.
    clock::time_point since;
    bool whole_topic = false;
    std::vector<publication> records; ///< Without the one that was delivered.
  };

  /// Why `topic` takes no records at present; null if no trouble is known.
  const error* trouble_of(const std::string& topic) const;

  /// Puts `x` with the other records of its topic.
  /// @pre `trouble_of` its topic is not null
  void take(publication x);

  /// `x` was refused. @param random Any 64-bit number.
  /// @returns True if that was not known, of its topic or of this record.
  bool refuse(publication x, const error& why, bool whole_topic, clock::time_point now,
              uint64_t random);

  /// The topic of `x` is silent while others are not; the producer still has `x`. The outcome of
  /// `x` decides when the topic goes on. False if that was known.
  bool suspect(const publication& x, const error& why, clock::time_point now);

  /// A record of each topic, and each single record, that is due for another try.
  std::vector<publication> due(clock::time_point now);

  /// `x` has been delivered: records that waited with it go on.
  std::optional<release> accept(const publication& x);

  /// Takes out the records for which `gone` is true.
  template <class F>
  std::vector<publication> remove_if(F gone) {
    std::vector<publication> result;
    for (auto i = lanes_.begin(); i != lanes_.end();) {
      auto& waiting = i->second.waiting;
      std::erase_if(waiting, [&](publication& x) {
        if (!gone(x))
          return false;
        result.push_back(std::move(x));
        return true;
      });
      if (i->second.probe && gone(*i->second.probe)) {
        i->second.probe.reset();
        i->second.next_try = {}; // its answer would have set it: the next record is tried at once
      }
      // The trouble of a topic also holds for its next records.
      i = waiting.empty() && !i->second.probe && !i->second.whole_topic ? lanes_.erase(i) : ++i;
    }
    return result;
  }

  /// A topic that has held back results for `limit`, and why.
  std::optional<std::pair<std::string, error>> results_held(clock::time_point now,
                                                            std::chrono::milliseconds limit) const;

  bool empty() const { return lanes_.empty(); }
  size_t size() const; ///< Number of waiting records.

private:
  struct lane {
    std::string topic;
    bool whole_topic = false;
    error reason;
    clock::time_point since, next_try;
    supervision::backoff pause{first_pause, longest_pause};
    std::optional<publication> probe; ///< The record that is being tried.
    std::deque<publication> waiting;
    bool results = false; ///< Some of the records are, or were, results.
  };
  /// A topic; or a topic and a record that is refused by itself.
  using lane_key = std::pair<std::string, std::optional<messaging::record_id>>;

  lane& lane_of(const publication& x, const error& why, bool whole_topic, clock::time_point now,
                bool& fresh);

  std::map<lane_key, lane> lanes_;
};

events::publication_set_aside set_aside_event(const publication& x, const error& why,
                                              bool whole_topic);
events::publication_resumed resumed_event(const publication& x, const set_aside::release& released,
                                          set_aside::clock::time_point now);

} // namespace ziyu::actors
