#pragma once

#include <CLI/CLI.hpp>

namespace ziyu::cli {

/// Gives `app` all commands and texts of `ziyu`.
void set_up(CLI::App& app, int& exit_code);

/// Runs a command line; returns the exit code (see `exit_codes`). Wrong flags are
/// reported on standard error with the nearest known one.
int run(int argc, const char* const* argv);

} // namespace ziyu::cli
