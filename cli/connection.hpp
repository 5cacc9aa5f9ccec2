#pragma once

#include "configs/config.hpp"

#include <CLI/CLI.hpp>

#include <optional>

namespace ziyu::cli {

/// The options that tell a command which broker and topics to use: `--config` and `--set`, or just
/// `--brokers`.
class connection_options {
public:
  void add_to(CLI::App& command);

  /// The configuration, or empty after errors, which are printed to standard error (the caller
  /// exits with `exit_wrong_usage`).
  std::optional<configs::loaded> load() const;

private:
  std::string file_, brokers_;
  std::vector<std::string> overrides_;
};

/// Adds `--set KEY=VALUE` (repeatable).
void add_override_option(CLI::App& command, std::vector<std::string>& overrides);

/// Prints "ziyu: …" for each error.
void print_errors(const std::vector<error>& errors);
void print_error(const error& x);

/// The exit code for a Kafka failure.
int exit_code_for(const error& x);

} // namespace ziyu::cli
