// `ziyu breaker` shows the circuit breaker of a running service, and sets the operator's mode. The
// service accepts a mode only from its own machine.

#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"
#include "cli/common/service.hpp"
#include "cli/view/drawing.hpp"

#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;

struct breaker_options {
  std::string mode = "show", reason;
  service_options service;
  double timeout_s = 5;
  bool as_json = false;
};

void print(const json& body) {
  const auto state = shown_in(body, "state");
  print_line(paint(printable(state), state == "closed" ? colour::green : colour::red,
                   wants_colour(STDOUT_FILENO))
             + "  mode " + printable(shown_in(body, "mode")));
  if (const auto reason = shown_in(body, "reason"); !reason.empty())
    print_line("because  " + printable(reason));
  print_line("credit   " + printable(shown_in(body, "credit_jobs")) + " jobs, "
             + shown_bytes_in(body, "credit_bytes")
             + "; memory pressure: " + printable(shown_in(body, "memory_pressure")));
}

int breaker(const breaker_options& options, const std::string& url) {
  const auto limit = to_milliseconds(options.timeout_s);
  json command{{"mode", options.mode}};
  if (!options.reason.empty())
    command["reason"] = options.reason;
  const auto body = body_of(url, options.mode == "show"
                                   ? ask_service(url, "/breaker", limit)
                                   : tell_service(url, "/breaker", command, limit));
  if (!body)
    return give_up(body.error());
  if (options.as_json)
    print_line(dumped(*body));
  else
    print(*body);
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
  add_seconds(*command, "--timeout", options->timeout_s, "Longest wait for the answer");
  command->add_flag("--json", options->as_json, "The answer as JSON");
  command->footer(
    "Only the service's own machine can change the mode. After a restart breaker.mode of\n"
    "the configuration applies again.\n"
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 4 no answer.\n"
    "Example: ziyu breaker open localhost:8080 --reason \"new disks\"");
  command->callback([options, &exit_code] {
    exit_code = options->service.use([&](const auto& url) { return breaker(*options, url); });
  });
}

} // namespace ziyu::cli
