#pragma once

#include "base/file.hpp"
#include "e2e/support/processes.hpp"
#include "e2e/support/service.hpp"
#include "messaging/kafka_client.hpp"
#include "messaging/producer.hpp"
#include "messaging/topic_reader.hpp"

#include <memory>
#include <set>

namespace ziyu::e2e {

/// A held-out image of the digits model.
struct digit {
  std::string file, bytes, label;
};

/// All 360, in the order of their names.
const std::vector<digit>& digits();

/// A file of the repository.
std::filesystem::path source_file(const std::string& relative);

struct result_record {
  nlohmann::json document;
  messaging::record raw;
  std::string job_id() const { return document.at("job_id"); }
};

/// One test's environment on a broker: its topics, the jobs that it submits, and all records that
/// come out. Names are unique, so that many tests can share a broker.
class stage {
public:
  /// @param create Whether to create the four topics and begin to read.
  explicit stage(std::string bootstrap, bool create = true, int32_t partitions = 4);

  const std::string& bootstrap() const { return bootstrap_; }
  std::string topic(const std::string& kind) const { return prefix_ + kind; }
  messaging::kafka_properties client() const;
  const std::filesystem::path& folder() const { return folder_.path(); }

  /// Creates the topics of the kinds `jobs`, `results`, `dead`, `events`.
  void create_topics(const std::vector<std::string>& kinds);
  /// Reads results, dead letters and events from the topics' beginnings. Topics that do not exist
  /// yet are read only after another call for them.
  void begin_reading(const std::set<std::string>& kinds = {"results", "dead", "events"});

  /// A configuration for this stage with `patch` merged into it.
  nlohmann::json configuration(const nlohmann::json& patch = {}) const;
  service serve(const nlohmann::json& patch = {}) const {
    return service{folder_.path(), configuration(patch)};
  }

  /// Produces all records to the job topic and waits for the acknowledgements; returns where each
  /// record went.
  std::vector<messaging::record_id> submit(std::vector<messaging::outgoing> records);
  /// `count` digits as raw images with the keys "<prefix>-<number>" and these headers.
  void submit_digits(size_t count, const std::string& prefix = "job",
                     const messaging::header_list& headers = {});
  /// Adds a job that another client submitted.
  void expect(const std::string& job_id) { submitted_.insert(job_id); }

  /// Reads the topics until `holds` returns true or the limit is over (then false).
  bool read_until(const std::function<bool()>& holds,
                  std::chrono::milliseconds limit = std::chrono::seconds{90});
  /// Until each submitted job has a result or a dead letter.
  bool read_all_answers(std::chrono::milliseconds limit = std::chrono::seconds{90});
  /// Until an event of this type has come (with this value in its detail).
  bool read_event(const std::string& type, const std::string& key = {},
                  const nlohmann::json& value = {},
                  std::chrono::milliseconds limit = std::chrono::seconds{60});

  const std::vector<result_record>& results() const { return results_; }
  const std::vector<messaging::record>& dead_letters() const { return dead_letters_; }
  std::vector<nlohmann::json> events(const std::string& type = {}) const;
  std::vector<result_record> results_of(const std::string& job_id) const;

  /// Jobs without any answer.
  std::set<std::string> lost() const;
  /// The number of answers beyond the first of each job.
  size_t duplicates() const;
  /// Share of results with the label of their digit (of those from `submit_digits`).
  double accuracy() const;

  /// An account for the message of a failed test.
  std::string account() const;

private:
  void read(std::chrono::milliseconds limit);

  temp_dir folder_{"ziyu-stage"};
  std::string bootstrap_, prefix_;
  int32_t partitions_;
  std::set<std::string> submitted_;
  std::map<std::string, std::string> labels_; ///< By job id.
  std::unique_ptr<messaging::topic_reader> result_reader_, dead_letter_reader_, event_reader_;
  std::vector<result_record> results_;
  std::vector<messaging::record> dead_letters_;
  std::vector<nlohmann::json> events_;
};

/// A record for the job topic.
messaging::outgoing job_record(std::optional<std::string> key, std::optional<std::string> value,
                               messaging::header_list headers = {});

/// Expects that every submitted job was answered, and that the service's own ledger balances and
/// has nothing in flight.
void expect_all_accounted(const stage& x, const service& by);

/// A value of a header as text, or "(none)".
std::string header(const messaging::record& x, const std::string& name);

} // namespace ziyu::e2e
