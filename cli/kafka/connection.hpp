#pragma once

#include "cli/common/options.hpp"

#include <functional>

namespace ziyu::cli {

/// The options that tell a command which broker and topics to use: `--config` and `--set`, or just
/// `--brokers`.
class connection_options {
public:
  void add_to(CLI::App& command);

  /// Calls `work` with the configuration and returns its exit code; `exit_wrong_usage` after errors
  /// in the configuration, which are printed.
  int use(const std::function<int(const configs::config&)>& work) const;

private:
  configuration_options configuration_;
  std::string brokers_;
};

} // namespace ziyu::cli
