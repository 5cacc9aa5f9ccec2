#include "cli/command.hpp"
#include "cli/follow.hpp"
#include "cli/rows.hpp"
#include "cli/terminal.hpp"

#include <memory>

#include <unistd.h>

namespace ziyu::cli {

void add_events_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand(
    "events", "Show what the service does to itself: leaks, replacements, breaker");
  auto options = std::make_shared<follow_options>();
  options->add_to(*command);
  command->footer(
    "Exit codes: 0 all that was asked for came, 1 less came, 2 wrong usage, 4 no broker or topic.");
  command->callback([options, &exit_code] {
    const auto colours = wants_colour(STDOUT_FILENO);
    exit_code = follow(
      *options, [](const configs::config& x) { return x.topics.events; },
      [colours] { print_line(event_head(colours)); },
      [options, colours](const messaging::record& x) {
        if (!x.value)
          return false;
        if (!options->json) {
          print_line(event_row(x, colours));
          return true;
        }
        const auto line = json_line(x);
        if (line)
          print_line(*line);
        return line.has_value();
      });
  });
}

} // namespace ziyu::cli
