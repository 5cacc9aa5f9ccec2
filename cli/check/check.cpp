#include "cli/check/checks.hpp"
#include "cli/command.hpp"
#include "cli/common/json.hpp"
#include "cli/view/terminal.hpp"

#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

struct check_options {
  configuration_options configuration;
  double timeout_s = 10;
  bool offline = false, json = false;
};

std::vector<finding> check(const check_options& options) {
  const auto loaded = load_settings(options.configuration);
  if (!loaded) {
    std::vector<finding> result;
    for (const auto& x : loaded.error())
      result.push_back({"configuration", verdict::failed, x.message, exit_wrong_usage});
    return result;
  }
  const auto& x = loaded->values;
  std::vector<finding> result{{"configuration", verdict::ok, options.configuration.file}};
  const auto container = supervision::read_container_memory("/", x.memory.container_limit_bytes);
  result.push_back(container
                     ? check_limits(x, *container)
                     : finding{"memory", verdict::failed, container.error().message, exit_failed});
  const auto clients = check_clients(x);
  result.push_back(clients);
  result.push_back(check_address(x));
  result.push_back(check_model(x));
  if (result.back().how == verdict::ok)
    result.push_back(check_worker(x));
  if (!options.offline && clients.how == verdict::ok)
    for (auto& line : check_broker(x, to_milliseconds(options.timeout_s)))
      result.push_back(std::move(line));
  return result;
}

const char* name_of(verdict x) {
  return x == verdict::ok ? "ok" : x == verdict::warning ? "warning" : "failed";
}

void print(const std::vector<finding>& findings, bool json) {
  if (json) {
    auto list = nlohmann::json::array();
    for (const auto& x : findings)
      list.push_back({{"check", x.what}, {"verdict", name_of(x.how)}, {"detail", x.detail}});
    const auto code = exit_code_of(findings);
    print_line(dumped(
      nlohmann::json{{"ok", code == exit_ok}, {"exit_code", code}, {"checks", std::move(list)}},
      2));
    return;
  }
  const auto colours = wants_colour(STDOUT_FILENO);
  for (const auto& x : findings) {
    const auto paint_as = x.how == verdict::ok        ? colour::green
                          : x.how == verdict::warning ? colour::yellow
                                                      : colour::red;
    print_line(paint(fit(name_of(x.how), 8), paint_as, colours) + fit(x.what, 24) + " "
               + printable(x.detail));
  }
}

} // namespace

void add_check_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("check", "Check a configuration, then the memory, the HTTP "
                                              "address, the model, the broker and the topics");
  auto options = std::make_shared<check_options>();
  options->configuration.add_file(*command, "Configuration file", "config")->required();
  options->configuration.add_overrides(*command);
  add_seconds(*command, "--timeout", options->timeout_s, "Longest wait for the broker");
  command->add_flag("--offline", options->offline, "Do not ask the broker");
  command->add_flag("--json", options->json, "The findings as JSON");
  command->footer(
    "Exit codes: 0 all is well, 1 a topic is missing, the HTTP address is taken or a check\n"
    "could not be made, 2 wrong configuration, limits or model, 4 the broker cannot be\n"
    "reached.");
  command->callback([options, &exit_code] {
    const auto findings = check(*options);
    print(findings, options->json);
    exit_code = exit_code_of(findings);
  });
}

} // namespace ziyu::cli
