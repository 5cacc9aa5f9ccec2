#pragma once

#include "actors/protocol.hpp"
#include "supervision/backoff.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::actors {

/// Results and dead letters that cannot be delivered at present while others can: their topic
/// is missing, forbidden or without a leader, or the broker does not take this one record.
/// They wait here, so that nothing else waits for them; one of each topic is tried again from
/// time to time. Pure: the caller brings time and chance.
class set_aside {
public:
  using clock = std::chrono::steady_clock;

  /// Between two tries of a topic or record: doubles from the first to the last.
  static constexpr std::chrono::milliseconds first_pause{1'000}, longest_pause{30'000};

  /// What goes on again.
  struct release {
    error reason; ///< Why it had waited.
    clock::time_point since;
    bool whole_topic = false;
    std::vector<publication> records; ///< Without the one that was taken.
  };

  /// Why `topic` takes no records at present; null if nothing is known against it.
  const error* trouble_of(const std::string& topic) const;

  /// Puts `x` where the other records of its topic are.
  /// @pre `trouble_of` its topic
  void take(publication x);

  /// `x` was refused. @param random Any 64-bit number.
  /// @returns True if that is news: of its topic, or of this record.
  bool refuse(publication x, const error& why, bool whole_topic, clock::time_point now,
              uint64_t random);

  /// The topic of `x`, which the producer still has, is silent while others are not. What
  /// becomes of `x` decides when the topic goes on. False if that was known.
  bool suspect(const publication& x, const error& why, clock::time_point now);

  /// A record of each topic, and each single record, whose time has come to be tried again.
  std::vector<publication> due(clock::time_point now);

  /// `x` has been delivered: what waited with it goes on.
  std::optional<release> accept(const publication& x);

  /// Takes out what `gone` says of it.
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
      if (i->second.probe && gone(*i->second.probe))
        i->second.probe.reset();
      // What is known of a topic holds for its next records.
      i = waiting.empty() && !i->second.probe && !i->second.whole_topic ? lanes_.erase(i) : ++i;
    }
    return result;
  }

  /// The topic, and why, that has held results back for `limit`.
  std::optional<std::pair<std::string, error>> results_held(clock::time_point now,
                                                            std::chrono::milliseconds limit) const;

  bool empty() const { return lanes_.empty(); }
  size_t size() const; ///< Records that wait.

private:
  struct lane {
    std::string topic;
    bool whole_topic = false;
    error reason;
    clock::time_point since, next_try;
    supervision::backoff pause{first_pause, longest_pause};
    std::optional<publication> probe; ///< Is being tried.
    std::deque<publication> waiting;
    bool results = false; ///< Some of them are, or were, results.
  };
  /// A topic; or a topic and the record that alone is refused.
  using lane_key = std::pair<std::string, std::optional<messaging::record_id>>;

  lane& lane_of(const publication& x, const error& why, bool whole_topic, clock::time_point now,
                bool& fresh);

  std::map<lane_key, lane> lanes_;
};

/// For the events `publication_set_aside` and `publication_resumed`.
nlohmann::json set_aside_detail(const publication& x, const error& why, bool whole_topic);
nlohmann::json resumed_detail(const publication& x, const set_aside::release& released,
                              set_aside::clock::time_point now);

} // namespace ziyu::actors
