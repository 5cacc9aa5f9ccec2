#include "actors/service.hpp"
#include "cli/check/checks.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"

#include <memory>

namespace ziyu::cli {

void add_serve_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("serve",
                                     "Run the service: jobs in, healed workers, results out");
  auto options = std::make_shared<configuration_options>();
  options->add_file(*command, "Configuration file")->required();
  options->add_overrides(*command);
  command->footer(
    "Ends after SIGTERM, SIGINT or SIGHUP, when the jobs in flight are done or handed back; at\n"
    "once after a second one. SIGUSR1 takes it out of its group for maintenance, SIGUSR2\n"
    "lets it join again.\n"
    "Exit codes: 0 stopped in good order, 1 failed, 2 wrong usage or configuration.");
  command->callback([options, &exit_code] {
    leave_on_interrupts(exit_ok);
    const auto loaded = load_settings(*options);
    if (!loaded) {
      print_errors(loaded.error());
      exit_code = exit_wrong_usage;
      return;
    }
    exit_code = actors::serve(*loaded);
  });
}

} // namespace ziyu::cli
