#pragma once

#include "messaging/producer.hpp"
#include "messaging/record.hpp"
#include "tests/simulation/timeline.hpp"

#include <deque>
#include <set>
#include <string>

namespace ziyu::simulation {

inline constexpr auto jobs_topic = "image.jobs";
inline constexpr auto results_topic = "image.results";
inline constexpr auto dead_letters_topic = "image.jobs-dlt";
inline constexpr auto events_topic = "ziyu.events";

inline constexpr uint32_t max_attempts = 3;
inline constexpr uint64_t max_pixels = 4'000'000;

enum class job_kind : uint8_t {
  good,
  tombstone,
  empty,
  huge,   ///< Its header announces too many pixels.
  killer, ///< Ends each worker that it meets.
  hanger, ///< Hangs each worker that it meets.
  deadly, ///< Ends each service that begins it.
};

/// One record of the job topic, and the truth about it.
struct job_truth {
  messaging::record content; ///< Without an epoch.
  job_kind kind = job_kind::good;
  uint32_t fetched = 0;     ///< By any consumer.
  uint32_t begun = 0;       ///< Workers that got it.
  uint32_t ended_badly = 0; ///< …alone, and died, or became useless, before an answer.
  uint32_t slow = 0;        ///< …alone, and whose answer may have been read after the deadline.
  uint32_t results = 0, dead_letters = 0;
  std::set<std::string> answered_by; ///< Versions of the model, each in a worker.

  bool finished() const { return results + dead_letters > 0; }
  bool is_bad_input() const { return kind >= job_kind::tombstone && kind <= job_kind::huge; }
  bool is_poison() const { return kind >= job_kind::killer; }
};

/// The job topic with the truth about every job. All output is checked against
/// it.
class job_book {
public:
  explicit job_book(timeline& time);

  /// Appends a job, chosen by the seed, to some partition.
  void append();

  size_t partitions() const { return log_.size(); }
  int64_t end(int32_t partition) const;
  job_truth& at(int32_t partition, int64_t offset);

  /// A result or dead letter has been written to its topic.
  void on_output(const messaging::outgoing& x);

  /// The job of an image; null for an image of no job.
  job_truth* find_image(std::string_view image);

  /// Some offset below `next` without result or dead letter; -1: none.
  int64_t first_unfinished(int32_t partition, int64_t next);

  bool all_finished() const;
  size_t size() const;
  size_t results() const { return results_; }
  size_t dead_letters() const { return dead_letters_; }
  size_t repeated() const { return repeated_; } ///< Outputs of jobs that already had one.
  std::string unfinished() const;               ///< For people.

  /// What a worker recognises in it.
  static uint32_t label_of(int32_t partition, int64_t offset) {
    return static_cast<uint32_t>((partition * 31 + offset * 7) % 10);
  }

private:
  void check_order(const job_truth& job);
  void check_result(const messaging::outgoing& x, const job_truth& job);
  void check_dead_letter(const messaging::outgoing& x, const job_truth& job);

  timeline& time_;
  std::vector<std::deque<job_truth>> log_;
  std::vector<int64_t> finished_prefix_;
  size_t results_ = 0, dead_letters_ = 0, repeated_ = 0;
  bool deadly_ = false; ///< There is one already: each of its deaths takes a session.
};

} // namespace ziyu::simulation
