#pragma once

// The settings of a service's parts, as the configuration has them.

#include "actors/process_host.hpp"
#include "actors/service_core.hpp"
#include "configs/config.hpp"

#include <memory>
#include <string>

namespace ziyu::actors {

/// Names this process among the instances.
std::string instance_name();

/// All but what reaches into the running service: the host, and what is called.
service_settings to_service_settings(const configs::config& c);

supervision::model_options to_model_options(const configs::config& c);

process_host_settings to_process_host_settings(const configs::config& c,
                                               std::shared_ptr<metrics> stats);

stop_limits to_stop_limits(const configs::config& c);

} // namespace ziyu::actors
