#include "cli/command.hpp"
#include "cli/follow.hpp"
#include "cli/rows.hpp"

#include <memory>

namespace ziyu::cli {

void add_results_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("results", "Show results as they come");
  auto options = std::make_shared<follow_options>();
  options->add_to(*command);
  command->footer(
    "Exit codes: 0 all that was asked for came, 1 less came, 2 wrong usage, 4 no broker or topic.\n"
    "Example: ziyu results -b localhost:9092 --from beginning --count 10 --json");
  command->callback([options, &exit_code] {
    exit_code = follow_values(
      *options, [](const configs::config& x) { return x.topics.results; }, result_head, result_row);
  });
}

} // namespace ziyu::cli
