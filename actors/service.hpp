#pragma once

#include "configs/config.hpp"
#include "messaging/kafka_defaults.hpp"

namespace ziyu::actors {

/// Runs the service until SIGTERM, SIGINT or a fatal error. A second such signal ends the process
/// at once with exit code 1. SIGUSR1 drains the service for maintenance, SIGUSR2 resumes it.
/// Returns the exit code: 0 stopped in good order, 1 failed (e.g., no usable model), 2 wrong
/// configuration. When it serves, it prints one JSON line on standard output:
/// `{"serving":true,"http":"127.0.0.1:8080","pid":1}`. Call it from the main thread before any
/// other thread exists.
int serve(const configs::loaded& settings);

/// The properties of the clients that `serve` would make.
messaging::client_properties client_properties_of(const configs::config& c);

/// The program of the workers: the configured one, or ziyu-worker beside this program.
std::filesystem::path worker_executable(const configs::config& c);

/// Finds mistakes in the settings that only the programs can see. `serve` does not start with them,
/// and `check` reports them.
expected<void> check_settings(const configs::config& x);

/// Listens on `http.host` and `http.port` for a moment, as `serve` does. `errc::invalid_config` if
/// that can never work, `errc::io` if the address is taken.
expected<void> check_address(const configs::config& x);

} // namespace ziyu::actors
