#include "cli/kafka/connection.hpp"

#include "cli/command.hpp"
#include "cli/common/errors.hpp"

namespace ziyu::cli {

void connection_options::add_to(CLI::App& command) {
  configuration_.add_file(command, "Configuration file: brokers, security and topic names");
  command
    .add_option("-b,--brokers", brokers_,
                "host:port,…; instead of a configuration file or of the brokers in it")
    ->type_name("LIST");
  configuration_.add_overrides(command);
}

int connection_options::use(const std::function<int(const configs::config&)>& work) const {
  if (configuration_.file.empty() && brokers_.empty())
    return give_up({errc::invalid_usage,
                    "which broker? Give --config FILE (or ZIYU_CONFIG) or --brokers host:port"});
  const auto loaded = configuration_.load(brokers_.empty() ? brokers_
                                                           : "kafka.bootstrap.servers=" + brokers_);
  return loaded ? work(loaded->values) : int{exit_wrong_usage};
}

} // namespace ziyu::cli
