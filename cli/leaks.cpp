// `ziyu leaks` shows leaks, their places and their replacements, from the event topic.

#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/connection.hpp"
#include "cli/flame.hpp"
#include "cli/follow.hpp"
#include "cli/foreign_json.hpp"
#include "cli/interrupt.hpp"
#include "cli/leak_book.hpp"
#include "cli/leak_view.hpp"
#include "cli/terminal.hpp"

#include <cstdio>
#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;

struct leaks_options {
  connection_options connection;
  std::string id, chart_file, flame_file;
  bool as_json = false, full = false, svg = false;
};

std::string dumped(const json& x) { return x.dump(-1, ' ', false, json::error_handler_t::replace); }

/// Reads all reports; empty after an error, which is printed, with `exit_code` set.
std::optional<leak_book> read_book(const leaks_options& options, int& exit_code) {
  exit_code = exit_wrong_usage;
  const auto config = options.connection.load();
  if (!config)
    return {};
  leak_book book;
  const auto done = read_all(config->values, config->values.topics.events,
                             [&book](const messaging::record& x) {
                               if (x.value)
                                 book.add(parse_foreign(*x.value));
                             });
  if (!done) {
    print_error(done.error());
    exit_code = exit_code_for(done.error());
    return {};
  }
  exit_code = exit_ok;
  survive_closed_output();
  return book;
}

/// The requested report; null after an error, which is printed, with `exit_code` set.
const leak_story* find_story(const leak_book& book, const leaks_options& options, int& exit_code) {
  const auto found = book.find(options.id);
  if (found)
    return *found;
  print_error(found.error());
  exit_code = exit_failed;
  return nullptr;
}

int save(const std::string& file, const std::string& content) {
  if (file.empty() || file == "-") {
    std::fputs(content.c_str(), stdout);
    return exit_ok;
  }
  if (const auto ok = write_file(file, content); !ok) {
    print_error(ok.error());
    return exit_failed;
  }
  return exit_ok;
}

int list(const leaks_options& options) {
  int exit_code = exit_ok;
  const auto book = read_book(options, exit_code);
  if (!book)
    return exit_code;
  const auto colours = wants_colour(STDOUT_FILENO);
  if (!options.as_json && !book->stories().empty())
    print_line(leak_head(colours));
  else if (!options.as_json)
    std::fputs("no leak was reported\n", stderr);
  for (const auto& x : book->stories()) {
    const auto healed = book->healings_of(x.what.report);
    print_line(options.as_json ? dumped(summary_json(x, healed)) : leak_row(x, healed, colours));
  }
  return exit_ok;
}

int show(const leaks_options& options) {
  int exit_code = exit_ok;
  const auto book = read_book(options, exit_code);
  const auto* x = book ? find_story(*book, options, exit_code) : nullptr;
  if (x == nullptr)
    return exit_code;
  const auto healed = book->healings_of(x->what.report);
  if (options.chart_file != "-") { // Else standard output is only for the picture.
    if (options.as_json)
      print_line(dumped(story_json(*x, healed)));
    else
      for (const auto& line : draw_leak(*x, healed, terminal_width(STDOUT_FILENO), options.full,
                                        wants_colour(STDOUT_FILENO)))
        print_line(line);
  }
  return options.chart_file.empty() ? exit_ok : save(options.chart_file, to_svg(leak_chart(*x)));
}

int flame(const leaks_options& options) {
  int exit_code = exit_ok;
  const auto book = read_book(options, exit_code);
  const auto* x = book ? find_story(*book, options, exit_code) : nullptr;
  if (x == nullptr)
    return exit_code;
  const auto& what = x->what;
  if (what.flame.empty()) {
    print_error({errc::io, "report " + what.report + " has no call stacks"});
    return exit_failed;
  }
  return save(options.flame_file,
              options.svg ? flame_svg(what.flame, "Leak " + what.report + ": " + what.cause)
                          : what.flame);
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
      exit_code = list(*options);
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
  one->callback([options, &exit_code] { exit_code = show(*options); });

  auto* graph = command->add_subcommand(
    "flame", "Write the growth as folded stacks, for tools that draw flame graphs");
  add_id(*graph, *options);
  graph->add_option("file", options->flame_file, "Output file (default: standard output)")
    ->type_name("FILE");
  options->connection.add_to(*graph);
  graph->add_flag("--svg", options->svg, "Write the flame graph itself, as SVG");
  graph->footer(std::string{exit_codes}
                + "\nExample: ziyu leaks flame 0.3 leak.svg --svg -b localhost:9092");
  graph->callback([options, &exit_code] { exit_code = flame(*options); });
}

} // namespace ziyu::cli
