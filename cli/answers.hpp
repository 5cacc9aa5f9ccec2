#pragma once

#include "configs/config.hpp"
#include "messaging/topic_reader.hpp"

#include <map>
#include <memory>
#include <set>
#include <string>

namespace ziyu::cli {

/// Waits for what became of submitted jobs: reads the results and the dead letters from where
/// the topics ended when it was opened. A job is known by its record, not by its id, which
/// others may use too. Not thread-safe.
class answer_reader {
public:
  /// `unavailable` when a topic or the broker is not there within `limit`.
  static expected<answer_reader> open(const configs::config& x, std::chrono::milliseconds limit);

  /// From now on `job` is waited for.
  void expect(const messaging::record_id& job) { open_.insert(job); }

  struct answer {
    messaging::record what;
    bool dead = false; ///< A dead letter.
  };
  /// The next answer to a job that is waited for, waiting up to `limit`.
  expected<std::optional<answer>> next(std::chrono::milliseconds limit);

  /// The jobs without an answer so far.
  const std::set<messaging::record_id>& open() const { return open_; }

private:
  answer_reader() = default;

  std::unique_ptr<messaging::topic_reader> results_, dead_letters_;
  std::set<messaging::record_id> open_;
};

} // namespace ziyu::cli
