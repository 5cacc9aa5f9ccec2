#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"

#include <cstdio>
#include <memory>

namespace ziyu::cli {

namespace {

struct init_options {
  std::string file = "-", brokers = "127.0.0.1:9092", group = "ziyu", model = "models/digits/1";
  bool force = false;
};

/// A configuration that serves, with the keys that people change first. All other keys have the
/// schema's defaults.
std::string starter(const init_options& x) {
  return R"(// The configuration of `ziyu serve`. A key that is not in it has its default.
// docs/configuration.md describes every key; `ziyu check FILE` finds mistakes.
{
  // librdkafka properties. Secrets come from the environment:
  //   "security.protocol": "SASL_SSL", "sasl.password": "${ZIYU_SASL_PASSWORD}"
  "kafka": {
    "bootstrap.servers": )"
         + dumped(nlohmann::json(x.brokers)) + R"(,
    "group.id": )"
         + dumped(nlohmann::json(x.group)) + R"(
  },

  // `ziyu topics create --config FILE` creates the missing ones.
  "topics": {
    "jobs": "image.jobs",
    "results": "image.results",
    "dead_letters": "image.jobs-dlt",
    "events": "ziyu.events"
  },

  // A folder <name>/<version>, relative to the folder of this file.
  "model": { "path": )"
         + dumped(nlohmann::json(x.model)) + R"( },

  // Two workers serve. A third is warm and waits to replace one of them.
  "workers": { "slots": 2, "standbys": 1 },

  // `ziyu doctor MODEL_FOLDER` says which budget a model needs.
  "memory": {
    "worker_budget_bytes": "256MiB",    // a worker is replaced before this …
    "worker_hard_limit_bytes": "512MiB" // … and killed at this
  },

  "http": { "host": "127.0.0.1", "port": 8080 },
  "log": { "level": "info", "format": "text" }
}
)";
}

int init(const init_options& options) {
  const auto text = starter(options);
  if (options.file == "-") {
    std::fputs(text.c_str(), stdout);
    return exit_ok;
  }
  std::error_code ignored;
  if (!options.force && std::filesystem::exists(options.file, ignored))
    return give_up({errc::invalid_usage, options.file + " exists already; --force overwrites it"});
  if (const auto written = write_file(options.file, text); !written)
    return give_up(written.error());
  std::fprintf(stderr, "%s is written; next: ziyu check %s\n", options.file.c_str(),
               options.file.c_str());
  return exit_ok;
}

} // namespace

void add_config_command(CLI::App& app, int& exit_code) {
  auto* group = app.add_subcommand("config", "Configuration files");
  group->require_subcommand(1);
  group->footer("Exit codes: those of its commands.");
  auto* command = group->add_subcommand("init", "Write a configuration to start with");
  auto options = std::make_shared<init_options>();
  command->add_option("file", options->file, "Where to write it; - is standard output")
    ->type_name("FILE")
    ->capture_default_str();
  command->add_option("-b,--brokers", options->brokers, "host:port,…")
    ->type_name("LIST")
    ->capture_default_str();
  command->add_option("--group", options->group, "Name of the consumer group")
    ->type_name("TEXT")
    ->capture_default_str();
  command
    ->add_option("-m,--model", options->model,
                 "Model folder <name>/<version>, relative to the folder of the file")
    ->type_name("MODEL_FOLDER")
    ->capture_default_str();
  command->add_flag("--force", options->force, "Overwrite the file if it exists");
  command->footer(
    "Exit codes: 0 written, 1 it could not be written, 2 it exists already.\n"
    "Example: ziyu config init ziyu.json --brokers broker-1:9092 && ziyu check ziyu.json");
  command->callback([options, &exit_code] { exit_code = init(*options); });
}

} // namespace ziyu::cli
