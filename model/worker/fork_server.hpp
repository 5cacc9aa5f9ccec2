#pragma once

#include "model/worker/worker_loop.hpp"

#include <filesystem>

namespace ziyu::worker {

/// Loads and warms the model, then forks a worker per `spawn` frame on `control_fd` and reports
/// each worker that ends. Serves no job. It is single-threaded and refuses to fork otherwise, since
/// that would be unsafe. When the control socket closes, it ends its workers and itself; on `stop`
/// only itself.
/// @returns The exit code.
int run_fork_server(const std::filesystem::path& model, const model::decode_limits& limits,
                    int control_fd, const worker_settings& settings);

} // namespace ziyu::worker
