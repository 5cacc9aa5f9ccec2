#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"
#include "cli/kafka/connection.hpp"
#include "cli/kafka/waiting_note.hpp"
#include "cli/view/drawing.hpp"
#include "messaging/kafka_client.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>

namespace ziyu::cli {

namespace {

struct topics_options {
  connection_options connection;
  int32_t partitions = 8;
  int32_t replication = 1;
  double timeout_s = 30;
  bool json = false;
};

int create(const topics_options& options, const configs::config& c) {
  // A record may be as large as the largest job, as base64 in JSON and with headers.
  const std::map<std::string, std::string> large{
    {"max.message.bytes", std::to_string(configs::max_record_bytes(c))}};
  const std::vector<messaging::topic_specification> wanted{
    {c.topics.jobs, options.partitions, options.replication, large},
    {c.topics.results, options.partitions, options.replication, {}},
    {c.topics.dead_letters, 1, options.replication, large},
    {c.topics.events, 1, options.replication, {}},
  };
  const auto properties = configs::common_properties(c);
  const auto created = [&] {
    const waiting_note note{properties};
    return messaging::create_topics(properties, wanted, to_milliseconds(options.timeout_s));
  }();
  if (!created)
    return give_up(created.error());
  for (const auto& x : wanted) {
    const auto is_new = std::find(created->begin(), created->end(), x.name) != created->end();
    const auto partitions = counted(static_cast<uint64_t>(x.partitions), "partition");
    print_line(options.json
                 ? dumped(nlohmann::json{{"topic", x.name}, {"created", is_new}})
                 : x.name + ": " + (is_new ? "created with " + partitions : "exists already"));
  }
  return exit_ok;
}

int list(const topics_options& options, const configs::config& c) {
  const auto properties = configs::common_properties(c);
  const auto known = [&] {
    const waiting_note note{properties};
    return messaging::read_metadata(properties, to_milliseconds(options.timeout_s));
  }();
  if (!known)
    return give_up(known.error());
  auto missing = 0;
  for (const auto& [name, what] : {std::pair{c.topics.jobs, "jobs"},
                                   {c.topics.results, "results"},
                                   {c.topics.dead_letters, "dead letters"},
                                   {c.topics.events, "events"}}) {
    const auto* found = known->find(name);
    missing += found == nullptr;
    const auto partitions = found != nullptr ? found->partitions : 0;
    print_line(
      options.json
        ? dumped(nlohmann::json{
          {"topic", name}, {"for", what}, {"exists", found != nullptr}, {"partitions", partitions}})
        : fit(what, 12) + " " + fit(name, 32) + " "
            + (found == nullptr ? "missing"
                                : counted(static_cast<uint64_t>(partitions), "partition")));
  }
  if (missing > 0 && !options.json)
    std::fprintf(stderr, "`ziyu topics create` creates the missing ones\n");
  return missing == 0 ? exit_ok : exit_failed;
}

void add_common(CLI::App& command, topics_options& options) {
  options.connection.add_to(command);
  add_seconds(command, "--timeout", options.timeout_s, "Give up after this time");
  command.add_flag("--json", options.json, "Print one JSON object per line for each topic");
}

} // namespace

void add_topics_command(CLI::App& app, int& exit_code) {
  auto* group = app.add_subcommand("topics", "List or create the topics of a configuration");
  group->require_subcommand(1);
  group->footer("Exit codes: those of its commands.");
  auto* showing = group->add_subcommand("list", "Show which of the four topics exist");
  auto shown = std::make_shared<topics_options>();
  shown->timeout_s = 10;
  add_common(*showing, *shown);
  showing->footer(
    "Exit codes: 0 all four exist, 1 some are missing, 2 wrong usage or configuration,\n"
    "4 no broker.");
  showing->callback([shown, &exit_code] {
    exit_code = shown->connection.use([&](const auto& c) { return list(*shown, c); });
  });
  auto* command = group->add_subcommand("create", "Create the missing ones of the four topics");
  auto options = std::make_shared<topics_options>();
  add_common(*command, *options);
  command
    ->add_option("--partitions", options->partitions,
                 "Partitions of jobs and results: no more instances than this share the work")
    ->check(CLI::Range(1, 10'000))
    ->capture_default_str();
  command
    ->add_option("--replication", options->replication,
                 "Copies of each partition; -1: the broker's default")
    ->check(CLI::Range(-1, 100))
    ->capture_default_str();
  command->footer(
    "Existing topics are not changed.\n"
    "Exit codes: 0 all four exist now, 1 refused, 2 wrong usage or configuration, 4 no broker.");
  command->callback([options, &exit_code] {
    exit_code = options->connection.use([&](const auto& c) { return create(*options, c); });
  });
}

} // namespace ziyu::cli
