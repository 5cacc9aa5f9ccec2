// `ziyu rollout` shows the model versions of a running service, and has it change to another one.
// The service accepts that only from its own machine.

#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/common/service.hpp"
#include "cli/view/terminal.hpp"

#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// How long one answer may take, and how often the service is asked how far it is.
constexpr milliseconds longest_answer{5'000}, between_looks{100};

struct rollout_options {
  std::string version;
  service_options service;
  double timeout_s = 300;
  bool as_json = false;
};

void print(const json& body) {
  for (const auto& x : field(body, "models")) {
    const auto state = text_in(x, "state");
    const auto name = text_in(x, "name");
    print_line(paint(printable(state), state == "serving" ? colour::green : colour::yellow,
                     wants_colour(STDOUT_FILENO))
               + "  "
               + (name.empty() ? "not loaded yet"
                               : printable(name + "/" + text_in(x, "version") + "  "
                                           + text_in(x, "precision")))
               + "  " + printable(text_in(x, "folder")));
  }
  const auto& latest = field(body, "rollout");
  if (!latest.is_object())
    return;
  const auto reason = text_in(latest, "reason");
  print_line("latest roll-out: " + printable(text_in(latest, "folder")) + " "
             + printable(text_in(latest, "state"))
             + (reason.empty() ? "" : ": " + printable(reason)));
}

std::string outcome_of(const json& body) { return text_in(field(body, "rollout"), "state"); }

/// Waits until no roll-out is under way.
expected<json> follow(const std::string& url, steady_clock::time_point end) {
  for (;;) {
    auto body = body_of(url, ask_service(url, "/models", longest_answer));
    if (!body || outcome_of(*body) != "under_way")
      return body;
    if (steady_clock::now() >= end)
      return fail(errc::io, "the roll-out is still under way; ziyu rollout without a version shows "
                            "how far it is");
    std::this_thread::sleep_for(between_looks);
  }
}

int rollout(const rollout_options& options, const std::string& url) {
  leave_on_interrupts(); // the roll-out goes on
  const auto end = steady_clock::now() + to_milliseconds(options.timeout_s);
  const auto orders = !options.version.empty();
  auto body = orders ? body_of(
                url, tell_service(url, "/models", {{"version", options.version}}, longest_answer),
                202)
                     : body_of(url, ask_service(url, "/models", longest_answer));
  if (body && orders)
    body = follow(url, end);
  if (!body)
    return give_up(body.error());
  if (options.as_json)
    print_line(dumped(*body));
  else
    print(*body);
  return orders && outcome_of(*body) != "finished" ? exit_failed : exit_ok;
}

} // namespace

void add_rollout_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("rollout", "Change a running service to another version of "
                                                "its model, without a restart");
  auto options = std::make_shared<rollout_options>();
  command
    ->add_option("version", options->version,
                 "Name of a folder beside that of model.path; without it, the versions are shown")
    ->type_name("VERSION");
  options->service.add_to(*command);
  add_seconds(*command, "--timeout", options->timeout_s, "Longest wait for the end");
  command->add_flag("--json", options->as_json, "The answer of /models as JSON");
  command->footer(
    "Only the service's own machine can change the version. A version that cannot be loaded, or\n"
    "whose first worker dies, is rejected, and the present one goes on. After a restart\n"
    "model.path applies again.\n"
    "Exit codes: 0 done, 1 rejected, refused or not done in time, 2 wrong usage, 4 no answer.\n"
    "Example: ziyu rollout 2 localhost:8080");
  command->callback([options, &exit_code] {
    exit_code = options->service.use([&](const auto& url) { return rollout(*options, url); });
  });
}

} // namespace ziyu::cli
