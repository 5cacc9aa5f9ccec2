#pragma once

#include "messaging/broker/embedded_broker.hpp"
#include "messaging/topic_reader.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace ziyu::cli {

/// The held-out images of the digits model with the labels that they show.
struct demo_images {
  struct image {
    std::string bytes, label;
  };
  std::vector<image> all;
  std::filesystem::path model; ///< Folder of the digits model.

  /// From `folder` (PNG files and labels.json), else from the source tree or
  /// installation that the executable belongs to.
  static expected<demo_images> load(const std::filesystem::path& folder);
};

/// The settings of one run of the service.
struct stage_settings {
  std::string name; ///< Makes the names of its topics and its consumer group.
  std::string leak; ///< Fault of slot 0, or empty.
  bool healing = true;
  uint64_t budget_bytes = uint64_t{128} << 20;
  uint64_t hard_limit_bytes = uint64_t{256} << 20;
};

/// A running `ziyu serve` with its own topics on a broker. Ended by the destructor.
class demo_stage {
public:
  /// Creates the topics, writes the configuration into `folder` and starts the service. Returns
  /// when it serves. `stopping` when `interrupted()`.
  static expected<demo_stage> start(const std::string& bootstrap,
                                    const std::filesystem::path& folder, const demo_images& images,
                                    const stage_settings& settings);

  messaging::kafka_properties client() const { return {{"bootstrap.servers", bootstrap_}}; }
  const std::string& jobs() const { return jobs_; }
  const std::string& http() const { return http_; }
  bool running() { return service_.running(); }
  supervision::exit_status end() { return service_.end(std::chrono::seconds{20}); }

  /// The last lines of the service's log.
  std::string log_tail() const;

  messaging::topic_reader& results() { return *results_; }
  messaging::topic_reader& dead_letters() { return *dead_letters_; }
  messaging::topic_reader& events() { return *events_; }

private:
  broker::guarded_process service_;
  std::string bootstrap_, jobs_, http_;
  std::filesystem::path log_;
  std::unique_ptr<messaging::topic_reader> results_, dead_letters_, events_;
};

} // namespace ziyu::cli
