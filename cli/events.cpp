#include "cli/command.hpp"
#include "cli/kafka/follow.hpp"
#include "cli/view/rows.hpp"

#include <memory>

namespace ziyu::cli {

void add_events_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("events",
                                     "Show the service's events: leaks, replacements, breaker");
  auto options = std::make_shared<follow_options>();
  options->add_to(*command);
  command->footer(
    "Exit codes: 0 all requested records came, 1 fewer came, 2 wrong usage, 4 no broker or topic.");
  command->callback([options, &exit_code] {
    exit_code = follow(*options, &configs::config::topics::events, event_head, event_row);
  });
}

} // namespace ziyu::cli
