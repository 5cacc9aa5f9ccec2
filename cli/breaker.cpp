// `ziyu breaker` shows the circuit breaker of a running service, and sets the operator's mode. The
// service accepts a mode only from its own machine.

#include "base/bytes.hpp"
#include "cli/command.hpp"
#include "cli/connection.hpp"
#include "cli/follow.hpp"
#include "cli/service.hpp"
#include "cli/terminal.hpp"

#include <nlohmann/json.hpp>

#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;

struct breaker_options {
  std::string mode = "show", reason;
  service_options service;
  double timeout_s = 5;
  bool as_json = false;
};

std::string text_of(const json& body, const char* key) {
  const auto i = body.find(key);
  return i == body.end() ? "?" : i->is_string() ? i->get<std::string>() : i->dump();
}

void print(const json& body) {
  const auto state = text_of(body, "state");
  print_line(paint(printable(state), state == "closed" ? colour::green : colour::red,
                   wants_colour(STDOUT_FILENO))
             + "  mode " + printable(text_of(body, "mode")));
  if (const auto reason = text_of(body, "reason"); !reason.empty())
    print_line("because  " + printable(reason));
  const auto bytes = body.find("credit_bytes");
  print_line("credit   " + printable(text_of(body, "credit_jobs")) + " jobs, "
             + (bytes != body.end() && bytes->is_number_integer()
                  ? format_bytes(bytes->get<int64_t>())
                  : "?")
             + "; memory pressure: " + printable(text_of(body, "memory_pressure")));
}

int breaker(const breaker_options& options) {
  const auto url = options.service.find();
  if (!url)
    return exit_wrong_usage;
  const milliseconds limit{static_cast<int64_t>(options.timeout_s * 1000)};
  json command{{"mode", options.mode}};
  if (!options.reason.empty())
    command["reason"] = options.reason;
  const auto said = options.mode == "show" ? ask_service(*url, "/breaker", limit)
                                           : tell_service(*url, "/breaker", command, limit);
  if (!said) {
    print_error(said.error());
    return exit_code_for(said.error());
  }
  if (said->status != 200) {
    print_error({errc::io, *url + " refuses (HTTP " + std::to_string(said->status)
                             + "): " + text_of(said->body, "error")});
    return exit_failed;
  }
  if (options.as_json)
    print_line(said->body.dump(-1, ' ', false, json::error_handler_t::replace));
  else
    print(said->body);
  return exit_ok;
}

} // namespace

void add_breaker_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("breaker",
                                     "Show or switch the circuit breaker of a running service");
  auto options = std::make_shared<breaker_options>();
  command
    ->add_option("mode", options->mode,
                 "show: change nothing; auto: the breaker decides; open: stop intake until the "
                 "mode changes; disable: never stop intake")
    ->check(CLI::IsMember({"show", "auto", "open", "disable"}))
    ->capture_default_str();
  options->service.add_to(*command);
  command->add_option("--reason", options->reason, "Why, for the event and for /readyz")
    ->type_name("TEXT");
  command->add_option("--timeout", options->timeout_s, "Longest wait for the answer")
    ->check(CLI::Range(0.001, 1e6))
    ->type_name("SECONDS")
    ->capture_default_str();
  command->add_flag("--json", options->as_json, "The answer as JSON");
  command->footer(
    "Only the service's own machine can change the mode. After a restart breaker.mode of\n"
    "the configuration applies again.\n"
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 4 no answer.\n"
    "Example: ziyu breaker open localhost:8080 --reason \"new disks\"");
  command->callback([options, &exit_code] { exit_code = breaker(*options); });
}

} // namespace ziyu::cli
