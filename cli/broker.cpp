#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/options.hpp"
#include "cli/view/terminal.hpp"
#include "messaging/broker/embedded_broker.hpp"

#include <nlohmann/json.hpp>

#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

struct broker_options {
  std::string folder;
  uint16_t port = 0;
  std::vector<std::string> properties;
};

int run_broker(const broker_options& options) {
  leave_on_interrupts(exit_ok);
  if (options.folder.empty())
    return give_up({errc::invalid_usage, "--dir: the name of a folder must not be empty"});
  broker::broker_settings settings;
  settings.folder = options.folder;
  settings.port = options.port;
  settings.cancelled = interrupted;
  for (const auto& x : options.properties) {
    const auto equals = x.find('=');
    if (equals == std::string::npos || equals == 0)
      return give_up({errc::invalid_usage, "--set " + x + ": expected NAME=VALUE"});
    settings.properties[x.substr(0, equals)] = x.substr(equals + 1);
  }
  catch_interrupts();
  auto running = broker::embedded_broker::start(std::move(settings));
  if (!running) {
    if (running.error().code == errc::stopping)
      return exit_ok;
    print_error(running.error());
    return exit_failed;
  }
  print_line(nlohmann::json{
    {"bootstrap", running->bootstrap()}, {"pid", ::getpid()}, {"dir", options.folder}}
               .dump());
  while (!interrupted()) {
    if (!running->running()) {
      print_error(
        {errc::unavailable, "Kafka has ended by itself; see " + options.folder + "/server.log"});
      return exit_failed;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
  running->stop();
  return exit_ok;
}

} // namespace

void add_broker_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("broker", "Run a real single-node Kafka, to try things out");
  auto options = std::make_shared<broker_options>();
  command
    ->add_option("--dir", options->folder, "Folder for its data and logs; kept, and used again")
    ->required()
    ->type_name("DIR");
  command->add_option("--port", options->port, "Port on 127.0.0.1 (default: a free one)")
    ->check(no_negative());
  command->add_option("--set", options->properties, "A property of the server, NAME=VALUE")
    ->type_name("NAME=VALUE");
  command->footer(
    "Prints one JSON line {\"bootstrap\": …} when it is ready; ends on SIGTERM, SIGINT or SIGHUP.\n"
    "Exit codes: 0 ended on request, 1 failed, 2 wrong usage.");
  command->callback([options, &exit_code] { exit_code = run_broker(*options); });
}

} // namespace ziyu::cli
