#pragma once

#include "cli/common/options.hpp"
#include "messaging/kafka_client.hpp"
#include "supervision/memory_probe.hpp"

namespace ziyu::cli {

enum class verdict : uint8_t { ok, warning, failed };

/// One line of `ziyu check`.
struct finding {
  std::string what; ///< "configuration", "broker", "topic image.jobs", "model"…
  verdict how = verdict::ok;
  std::string detail;
  int exit_code = 0; ///< The exit code for a failure of this kind.
};

/// The settings of a service, or all mistakes in them that can be found without running anything:
/// `check` reports them, and `serve` does not start with them.
tl::expected<configs::loaded, std::vector<error>> load_settings(const configuration_options& x);

/// Whether the topics exist, have partitions and fit together. Pure.
std::vector<finding> check_topics(const configs::config& x,
                                  const messaging::cluster_metadata& cluster);

/// Whether the workers' budgets fit into the container's memory. Pure.
finding check_limits(const configs::config& x, const supervision::container_memory& container);

/// Makes the service's Kafka clients without a broker: librdkafka then checks their properties.
finding check_clients(const configs::config& x);

/// Whether `serve` could listen on the configured address. A service of Ziyu that has it already is
/// a warning: it may be the one whose configuration is checked.
finding check_address(const configs::config& x);

/// Asks the broker as the consumer and the producer would, waiting up to `limit` for each answer,
/// then checks the topics.
std::vector<finding> check_broker(const configs::config& x, std::chrono::milliseconds limit);

/// Has the worker program load the model.
finding check_model(const configs::config& x);

/// Forks one worker and compares its own memory with its budget, as `serve` does.
finding check_worker(const configs::config& x);

/// 0, or the exit code of the most basic failure: wrong configuration, then absent broker, then
/// others.
int exit_code_of(const std::vector<finding>& findings);

} // namespace ziyu::cli
