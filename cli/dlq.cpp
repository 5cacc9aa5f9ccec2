#include "cli/command.hpp"
#include "cli/follow.hpp"
#include "cli/rows.hpp"
#include "cli/terminal.hpp"

#include <memory>

#include <unistd.h>

namespace ziyu::cli {

void add_dlq_command(CLI::App& app, int& exit_code) {
  auto* group = app.add_subcommand("dlq", "Dead letters: jobs that could not be done");
  group->require_subcommand(1);
  group->footer("Exit codes: those of its commands.");
  auto* command = group->add_subcommand("list", "Show dead letters with their reasons");
  auto options = std::make_shared<follow_options>();
  options->from = "beginning";
  options->idle_s = 3;
  options->add_to(*command);
  command->footer(
    "Ends when nothing came for --idle seconds (default 3).\n"
    "Exit codes: 0 all that was asked for came, 1 less came, 2 wrong usage, 4 no broker or topic.");
  command->callback([options, &exit_code] {
    const auto colours = wants_colour(STDOUT_FILENO);
    exit_code = follow(
      *options, [](const configs::config& x) { return x.topics.dead_letters; },
      [colours] { print_line(dead_letter_head(colours)); },
      [options, colours](const messaging::record& x) {
        print_line(options->json ? dead_letter_json(x).dump() : dead_letter_row(x, colours));
        return true;
      });
  });
}

} // namespace ziyu::cli
