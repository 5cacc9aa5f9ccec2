// `ziyu leaks` shows leaks, their places and their replacements, from the event topic.

#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"
#include "cli/kafka/connection.hpp"
#include "cli/kafka/follow.hpp"
#include "cli/leaks/book.hpp"
#include "cli/leaks/flame.hpp"
#include "cli/leaks/view.hpp"
#include "cli/view/terminal.hpp"

#include <cstdio>
#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

struct leaks_options {
  connection_options connection;
  std::string id, chart_file, flame_file;
  bool as_json = false, full = false, svg = false;
};

/// Reads all reports and shows them.
int with_book(const leaks_options& options, const std::function<int(const leak_book&)>& show) {
  return options.connection.use([&](const configs::config& c) {
    leak_book book;
    const auto done = read_all(c, c.topics.events,
                               [&book](const messaging::record& x) { book.add(value_of(x)); });
    return done ? show(book) : give_up(done.error());
  });
}

using healings = std::vector<healing>;

/// Shows the requested report.
int with_story(const leaks_options& options,
               const std::function<int(const leak_story&, const healings&)>& show) {
  return with_book(options, [&](const leak_book& book) {
    const auto found = book.find(options.id);
    return found ? show(**found, book.healings_of((*found)->what.report)) : give_up(found.error());
  });
}

int save(const std::string& file, const std::string& content) {
  if (file.empty() || file == "-") {
    std::fputs(content.c_str(), stdout);
    return exit_ok;
  }
  const auto ok = write_file(file, content);
  return ok ? int{exit_ok} : give_up(ok.error());
}

int list(const leaks_options& options, const leak_book& book) {
  const auto colours = wants_colour(STDOUT_FILENO);
  if (!options.as_json && !book.stories().empty())
    print_line(leak_head(colours));
  else if (!options.as_json)
    std::fputs("no leak was reported\n", stderr);
  for (const auto& x : book.stories()) {
    const auto healed = book.healings_of(x.what.report);
    print_line(options.as_json ? dumped(summary_json(x, healed)) : leak_row(x, healed, colours));
  }
  return exit_ok;
}

int show(const leaks_options& options, const leak_story& x, const healings& healed) {
  if (options.chart_file == "-") // Standard output is only for the picture.
    return save("-", to_svg(leak_chart(x)));
  if (options.as_json)
    print_line(dumped(story_json(x, healed)));
  else
    for (const auto& line : draw_leak(x, healed, terminal_width(STDOUT_FILENO), options.full,
                                      wants_colour(STDOUT_FILENO)))
      print_line(line);
  return options.chart_file.empty() ? exit_ok : save(options.chart_file, to_svg(leak_chart(x)));
}

int flame(const leaks_options& options, const events::leak_report& x) {
  if (x.flame.empty())
    return give_up({errc::io, "report " + x.report + " has no call stacks"});
  return save(options.flame_file,
              options.svg ? flame_svg(x.flame, "Leak " + x.report + ": " + x.cause) : x.flame);
}

void add_id(CLI::App& command, leaks_options& options) {
  command.add_option("id", options.id, "The report, or the beginning of its id")
    ->required()
    ->type_name("ID");
}

} // namespace

void add_leaks_command(CLI::App& app, int& exit_code) {
  static constexpr auto exit_codes =
    "Exit codes: 0 done, 1 no such report or not written, 2 wrong usage, 4 no broker or topic.";
  auto* command = app.add_subcommand(
    "leaks", "Show the leaks that were found: where they are, what healed them");
  auto options = std::make_shared<leaks_options>();
  options->connection.add_to(*command);
  command->add_flag("--json", options->as_json, "Print one JSON object per line");
  command->footer(std::string{exit_codes}
                  + "\nExample: ziyu leaks -b localhost:9092; then ziyu leaks show ID -b …");
  command->require_subcommand(0, 1);
  command->callback([command, options, &exit_code] {
    if (command->get_subcommands().empty())
      exit_code = with_book(*options, [&](const auto& book) { return list(*options, book); });
  });

  auto* one = command->add_subcommand(
    "show", "Show one leak: its numbers, its call stacks, what healed it");
  add_id(*one, *options);
  options->connection.add_to(*one);
  one->add_flag("--full", options->full, "All frames of the call stacks, the allocator's included");
  one
    ->add_option("--svg", options->chart_file,
                 "Also write a chart of its memory; - is standard output")
    ->type_name("FILE");
  one->add_flag("--json", options->as_json, "The report as JSON");
  one->footer(std::string{exit_codes} + "\nExample: ziyu leaks show 0.3 -b localhost:9092");
  one->callback([options, &exit_code] {
    exit_code = with_story(
      *options, [&](const auto& x, const auto& healed) { return show(*options, x, healed); });
  });

  auto* graph = command->add_subcommand(
    "flame", "Write the growth as folded stacks, for tools that draw flame graphs");
  add_id(*graph, *options);
  graph->add_option("file", options->flame_file, "Output file (default: standard output)")
    ->type_name("FILE");
  options->connection.add_to(*graph);
  graph->add_flag("--svg", options->svg, "Write the flame graph itself, as SVG");
  graph->footer(std::string{exit_codes}
                + "\nExample: ziyu leaks flame 0.3 leak.svg --svg -b localhost:9092");
  graph->callback([options, &exit_code] {
    exit_code = with_story(*options,
                           [&](const auto& x, const auto&) { return flame(*options, x.what); });
  });
}

} // namespace ziyu::cli
