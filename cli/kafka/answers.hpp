#pragma once

#include "configs/config.hpp"
#include "messaging/topic_reader.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>

namespace ziyu::cli {

/// Waits for the answers to submitted jobs: reads results and dead letters from the topics' ends at
/// the time of `open`. A job is identified by its record, not by its id, which other jobs may have
/// as well. Not thread-safe.
class answer_reader {
public:
  /// `unavailable` when a topic or the broker does not answer within `limit`.
  static expected<answer_reader> open(const configs::config& x, std::chrono::milliseconds limit);

  /// From now on waits for the answer to `job`.
  void expect(const messaging::record_id& job) { open_.insert(job); }

  struct answer {
    messaging::record what;
    bool dead = false; ///< It is a dead letter.
  };
  /// The next answer to an expected job, waiting up to `limit`.
  expected<std::optional<answer>> next(std::chrono::milliseconds limit);

  /// The expected jobs without an answer so far.
  const std::set<messaging::record_id>& open() const { return open_; }

private:
  answer_reader() = default;

  std::unique_ptr<messaging::topic_reader> results_, dead_letters_;
  std::set<messaging::record_id> open_;
};

} // namespace ziyu::cli
