#include "cli/command.hpp"
#include "cli/common/json.hpp"
#include "cli/kafka/follow.hpp"
#include "cli/view/rows.hpp"

#include <memory>
#include <set>

namespace ziyu::cli {

namespace {

struct results_options : follow_options {
  std::set<std::string> jobs;

  /// With `--job`, the results of these jobs are wanted, also earlier ones, and no others.
  follow_options completed() const {
    follow_options x = *this;
    if (!jobs.empty()) {
      x.from = from.empty() ? "beginning" : from;
      x.count = count == 0 ? jobs.size() : count;
      x.waits_for = jobs.size() == 1 ? "the result of " + *jobs.begin()
                                     : "results of " + std::to_string(jobs.size()) + " jobs";
      x.waits_for += " (`ziyu dlq list` shows jobs that were given up)";
    }
    return x;
  }

  bool wants(const messaging::record& x) const {
    return jobs.empty() || jobs.contains(text_in(value_of(x), "job_id"));
  }
};

} // namespace

void add_results_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("results", "Show results as they come");
  auto options = std::make_shared<results_options>();
  options->add_to(*command);
  command
    ->add_option("--job", options->jobs,
                 "Show only the result of this job id, then end; reads from the beginning unless "
                 "--from is given; may be repeated")
    ->allow_extra_args(false)
    ->type_name("ID");
  command->footer(
    "Exit codes: 0 all requested records came, 1 fewer came, 2 wrong usage, 4 no broker or topic,\n"
    "130 interrupted with --count or --job.\n"
    "Example: ziyu results -b localhost:9092 --from beginning --count 10 --json");
  command->callback([options, &exit_code] {
    exit_code = follow(options->completed(), &configs::config::topics::results, result_head,
                       result_row, [&](const messaging::record& x) { return options->wants(x); });
  });
}

} // namespace ziyu::cli
