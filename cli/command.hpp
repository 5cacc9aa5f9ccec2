#pragma once

// One command is one source file: `cli/<name>.cpp`, or `cli/<name>/<name>.cpp` beside the parts
// that only this command uses. It defines `add_<name>_command`, which adds a subcommand with its
// options and a callback. The callback does the work and sets the exit code. `set_up`
// (cli/app.cpp) calls them all.

#include <CLI/CLI.hpp>

namespace ziyu::cli {

/// The exit codes of all commands of `ziyu`.
enum exit_codes : int {
  exit_ok = 0,          ///< Done.
  exit_failed = 1,      ///< Something failed or was lost; standard error says what.
  exit_wrong_usage = 2, ///< Wrong flags or a wrong configuration.
  exit_leaking = 3,     ///< A leak was found where none may be.
  exit_unavailable = 4, ///< The broker cannot be reached; try again later.
  /// Ctrl-C or SIGTERM came before the command was done; the value is a shell's (128 + SIGINT).
  /// Commands that run until they are stopped (`serve`, `broker`, `top`, …) then end with
  /// `exit_ok`.
  exit_interrupted = 130,
};

/// Each adds its command to `app`; the command's callback sets `exit_code`.
void add_bench_command(CLI::App& app, int& exit_code);
void add_breaker_command(CLI::App& app, int& exit_code);
void add_broker_command(CLI::App& app, int& exit_code);
void add_check_command(CLI::App& app, int& exit_code);
void add_classify_command(CLI::App& app, int& exit_code);
void add_completion_command(CLI::App& app, int& exit_code);
void add_config_command(CLI::App& app, int& exit_code);
void add_demo_command(CLI::App& app, int& exit_code);
void add_dlq_command(CLI::App& app, int& exit_code);
void add_doctor_command(CLI::App& app, int& exit_code);
void add_events_command(CLI::App& app, int& exit_code);
void add_health_command(CLI::App& app, int& exit_code);
void add_leaks_command(CLI::App& app, int& exit_code);
void add_results_command(CLI::App& app, int& exit_code);
void add_rollout_command(CLI::App& app, int& exit_code);
void add_serve_command(CLI::App& app, int& exit_code);
void add_submit_command(CLI::App& app, int& exit_code);
void add_top_command(CLI::App& app, int& exit_code);
void add_topics_command(CLI::App& app, int& exit_code);

} // namespace ziyu::cli
