#pragma once

// Options that several commands have.

#include "configs/config.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::cli {

/// A number from `least` to `most`, as `CLI::Range` has it; "nan", which that admits, is none.
CLI::Validator in_range(double least, double most);

/// A whole number of 0 or more: CLI11 takes "-1" for the largest one.
CLI::Validator no_negative();

/// Adds an option for a time of at least `least` seconds. Its default is shown unless that is 0.
void add_seconds(CLI::App& command, const std::string& name, double& seconds,
                 const std::string& text, double least = 0.001);

std::chrono::milliseconds to_milliseconds(double seconds);

/// Where a command's configuration comes from: a file, and keys set on the command line.
struct configuration_options {
  std::string file; ///< Empty: none.
  std::vector<std::string> overrides;

  /// Adds the file, which ZIYU_CONFIG may name as well.
  CLI::Option* add_file(CLI::App& command, const std::string& text,
                        const std::string& name = "-c,--config");

  /// Adds `--set KEY=VALUE` (repeatable).
  void add_overrides(CLI::App& command);

  /// The configuration with the overrides and one more. Without a file the defaults: a command that
  /// does not serve needs neither a group nor a model. Empty after errors, which are printed (the
  /// caller exits with `exit_wrong_usage`).
  std::optional<configs::loaded> load(const std::string& another_override = {}) const;
};

} // namespace ziyu::cli
