#include "cli/app.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/version.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

namespace ziyu::cli {

namespace {

constexpr auto footer = R"(
Exit codes: 0 done; 1 something failed or was lost; 2 wrong usage or configuration;
3 a leak where none may be; 4 the broker cannot be reached; 130 interrupted (0 for a
command that runs until it is stopped: serve, broker, top, results without --count)
by Ctrl-C, SIGTERM or SIGHUP.
`ziyu COMMAND --help` says more about a command.)";

/// The innermost command that was parsed before the error.
const CLI::App& innermost(const CLI::App& app) {
  const auto* at = &app;
  for (auto parsed = at->get_subcommands(); !parsed.empty(); parsed = at->get_subcommands())
    at = parsed.back();
  return *at;
}

std::string command_line_of(const CLI::App& x) {
  return x.get_parent() == nullptr ? x.get_name()
                                   : command_line_of(*x.get_parent()) + " " + x.get_name();
}

std::vector<std::string> known_flags(const CLI::App& command) {
  std::vector<std::string> result;
  for (const auto* option : command.get_options())
    for (const auto& name : option->get_lnames())
      result.push_back("--" + name);
  return result;
}

std::vector<std::string> known_commands(const CLI::App& command) {
  std::vector<std::string> result;
  for (const auto* x : command.get_subcommands([](const CLI::App*) { return true; }))
    result.push_back(x->get_name());
  return result;
}

/// "unknown flag --cout; did you mean --count?"
std::string explain(const CLI::App& command, const CLI::ParseError& error) {
  const auto extras = command.remaining();
  if (extras.empty())
    return error.what();
  const auto word = extras.front().substr(0, extras.front().find('='));
  const auto is_flag = word.starts_with('-');
  const auto commands = known_commands(command);
  const auto suggestion = closest(word, is_flag ? known_flags(command) : commands);
  auto result = (is_flag            ? "unknown flag "
                 : commands.empty() ? "unexpected argument "
                                    : "unknown command ")
                + word;
  if (!suggestion.empty())
    result += "; did you mean " + suggestion + "?";
  return result;
}

int fail_usage(const CLI::App& command, const std::string& what) {
  print_error({errc::invalid_usage, what});
  std::fprintf(stderr, "Try `%s --help`.\n", command_line_of(command).c_str());
  return exit_wrong_usage;
}

/// Messages of a Kafka client (a coordinator that is still loading, an idle connection) would
/// confuse users of a command: commands report failures themselves.
void keep_clients_quiet() {
  if (auto ok = init_log("info", "text"); ok)
    spdlog::set_level(spdlog::level::off);
}

/// Adds --verbose to the commands that use a Kafka client.
void add_verbose_flags(CLI::App& app) {
  for (auto* x : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (x->get_name() == "serve" || x->get_name() == "completion" || x->get_name() == "doctor"
        || x->get_name() == "classify" || x->get_name() == "bench" || x->get_name() == "config")
      continue; // `serve` has the log of its configuration; the others have no Kafka client.
    if (x->get_require_subcommand_min() == 0)
      x->add_flag_callback(
        "-v,--verbose", [] { spdlog::set_level(spdlog::level::debug); },
        "Also show the Kafka clients' log on standard error");
    add_verbose_flags(*x);
  }
}

} // namespace

void set_up(CLI::App& app, int& exit_code) {
  app.name("ziyu");
  app.description("Ziyu (自愈): image inference on Kafka that heals itself");
  app.footer(footer);
  app.get_formatter()->column_width(34);
  app.require_subcommand(0, 1);
  app.add_flag("--version")
    ->description("The versions of ziyu, of its worker and of their libraries");
  add_serve_command(app, exit_code);
  add_health_command(app, exit_code);
  add_breaker_command(app, exit_code);
  add_rollout_command(app, exit_code);
  add_check_command(app, exit_code);
  add_config_command(app, exit_code);
  add_topics_command(app, exit_code);
  add_submit_command(app, exit_code);
  add_results_command(app, exit_code);
  add_events_command(app, exit_code);
  add_dlq_command(app, exit_code);
  add_leaks_command(app, exit_code);
  add_top_command(app, exit_code);
  add_demo_command(app, exit_code);
  add_classify_command(app, exit_code);
  add_bench_command(app, exit_code);
  add_doctor_command(app, exit_code);
  add_broker_command(app, exit_code);
  add_completion_command(app, exit_code);
  add_verbose_flags(app);
}

namespace {

/// A full disk must not look like success; a reader that has seen enough may go.
int with_output_written(int exit_code) {
  errno = 0;
  if ((std::fflush(stdout) == 0 && std::ferror(stdout) == 0) || output_closed())
    return exit_code;
  print_error({errc::io, std::string{"standard output cannot be written"}
                           + (errno != 0 ? ": " + std::string{std::strerror(errno)} : "")});
  return exit_code == exit_ok ? int{exit_failed} : exit_code;
}

int parse_and_run(CLI::App& app, int& exit_code, int argc, const char* const* argv) {
  try {
    app.parse(argc, argv);
    if (app.count("--version") > 0) {
      std::fputs(version_text().c_str(), stdout);
    } else if (app.get_subcommands().empty()) {
      std::fputs(app.help().c_str(), stderr);
      return exit_wrong_usage;
    }
  } catch (const CLI::Success& x) {
    return app.exit(x); // --help
  } catch (const CLI::ParseError& x) {
    const auto& command = innermost(app);
    return fail_usage(command, explain(command, x));
  } catch (const std::exception& x) {
    // Errors are values: what is thrown all the same is still told in a line.
    print_error({errc::io, x.what()});
    return exit_failed;
  }
  return exit_code;
}

} // namespace

int run(int argc, const char* const* argv) {
  open_standard_streams();
  leave_on_interrupts();
  survive_closed_output();
  CLI::App app;
  int exit_code = exit_ok;
  keep_clients_quiet();
  set_up(app, exit_code);
  return with_output_written(parse_and_run(app, exit_code, argc, argv));
}

} // namespace ziyu::cli
