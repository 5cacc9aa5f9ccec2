// `ziyu dlq` shows dead letters, replays and drops them. A dead letter that was replayed or
// dropped stays in its topic until retention deletes it: Kafka cannot delete one record from the
// middle. A later mark in the same partition says that it is dealt with, and hides it. See
// docs/messages.md.

#include "base/clock.hpp"
#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/dlq/book.hpp"
#include "cli/dlq/handling.hpp"
#include "cli/kafka/follow.hpp"
#include "cli/view/drawing.hpp"
#include "cli/view/rows.hpp"
#include "messaging/job_id.hpp"

#include <cstdio>
#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using messaging::dead_letter_action;
using nlohmann::json;
using letter = dead_letter_book::letter;

struct dlq_options {
  connection_options connection;
  std::vector<std::string> codes, jobs, records;
  std::string since, until;
  std::string which; ///< `show`: a record or a job.
  std::filesystem::path payload;
  double timeout_s = 10;
  bool handled = false, yes = false, all = false, json = false;

  void add_to(CLI::App& command, bool with_filters) {
    connection.add_to(command);
    if (with_filters) {
      command.add_option("--code", codes, "Only with this reason code; may be repeated")
        ->allow_extra_args(false)
        ->type_name("CODE");
      command.add_option("--job", jobs, "Only of this job id; may be repeated")
        ->allow_extra_args(false)
        ->type_name("ID");
      command.add_option("--record", records, "Only this record; may be repeated")
        ->allow_extra_args(false)
        ->type_name("PARTITION-OFFSET");
      command
        .add_option("--since", since,
                    "Only from this time on: 2026-11-25T10:30, or 15m, 2h, 7d ago")
        ->type_name("TIME");
      command.add_option("--until", until, "Only before this time")->type_name("TIME");
    }
    add_seconds(command, "--timeout", timeout_s, "Longest wait for the broker");
    command.add_flag("--json", json, "Print one JSON object per line");
  }

  std::chrono::milliseconds limit() const { return to_milliseconds(timeout_s); }

  expected<dead_letter_filter> filter(const std::string& topic) const {
    dead_letter_filter result;
    for (const auto& code : codes)
      if (errc known{}; !from_string(code, known))
        return fail(errc::invalid_usage, "--code " + code
                                           + " is not a reason code; `ziyu dlq summary` shows the "
                                             "codes in use, docs/messages.md lists all");
    result.codes.insert(codes.begin(), codes.end());
    result.jobs.insert(jobs.begin(), jobs.end());
    for (const auto& text : records) {
      auto record = parse_record(text, topic);
      if (!record)
        return tl::unexpected(record.error());
      result.records.insert(*record);
    }
    const auto now = system_environment().wall_ms();
    for (const auto& [text, to] : {std::pair{&since, &result.since_ms}, {&until, &result.until_ms}})
      if (!text->empty()) {
        auto moment = parse_moment(*text, now);
        if (!moment)
          return tl::unexpected(moment.error());
        *to = *moment;
      }
    return result;
  }
};

/// Calls `work` with the configuration and the filter that the options name.
int with_filter(const dlq_options& options,
                const std::function<int(const configs::config&, dead_letter_filter)>& work) {
  return options.connection.use([&](const configs::config& c) {
    auto which = options.filter(c.topics.dead_letters);
    return which ? work(c, std::move(*which)) : give_up(which.error());
  });
}

/// Reads the dead letters that the options name, and shows them.
int with_book(const dlq_options& options,
              const std::function<void(const dead_letter_book&)>& show) {
  return with_filter(options, [&](const configs::config& c, dead_letter_filter which) {
    const auto book = read_book(c, std::move(which), options.limit());
    if (!book)
      return give_up(book.error());
    show(*book);
    return int{exit_ok};
  });
}

json to_json(const letter& x) {
  auto result = dead_letter_json(x.head, x.payload_bytes);
  result["state"] = x.mark ? to_string(x.mark->what) : "open";
  if (x.mark)
    result["handled_ms"] = x.mark->time_ms;
  return result;
}

std::string record_of(const letter& x) {
  return std::to_string(x.head.id.partition) + "-" + std::to_string(x.head.id.offset);
}

// -- list -------------------------------------------------------------------------------

void list(const dlq_options& options, const dead_letter_book& book) {
  const auto colours = wants_colour(STDOUT_FILENO);
  if (!options.json)
    print_line(paint(fit("RECORD", 12) + " " + fit("STATE", 8) + " " + fit("TIME", 18),
                     colour::bold, colours)
               + " " + dead_letter_head(colours));
  for (const auto& x : book.letters(options.handled)) {
    if (output_closed())
      return;
    print_line(options.json
                 ? dumped(to_json(x))
                 : fit(record_of(x), 12) + " " + fit(x.mark ? to_string(x.mark->what) : "open", 8)
                     + " " + fit(time_of(x.what.time_ms), 18) + " "
                     + dead_letter_row(x.head, x.payload_bytes, colours));
  }
  if (const auto n = book.handled(); n > 0 && !options.handled && !options.json)
    std::fprintf(stderr, "%zu more were replayed or dropped: --handled shows them\n", n);
}

// -- summary ----------------------------------------------------------------------------

void summary(const dlq_options& options, const dead_letter_book& book) {
  struct group {
    size_t count = 0;
    int64_t first_ms = 0, last_ms = 0;
  };
  std::map<std::string, group> groups;
  for (const auto& x : book.letters(options.handled)) { // In the order of their time.
    auto& g = groups[x.what.code.empty() ? "?" : x.what.code];
    if (g.count++ == 0)
      g.first_ms = x.what.time_ms;
    g.last_ms = x.what.time_ms;
  }
  const auto colours = wants_colour(STDOUT_FILENO);
  if (!options.json)
    print_line(paint(fit("REASON", 24) + " " + fit("COUNT", 8, true) + "  " + fit("FIRST", 18) + " "
                       + fit("LAST", 18),
                     colour::bold, colours));
  for (const auto& [code, g] : groups)
    print_line(
      options.json ? dumped(
        json{{"code", code}, {"count", g.count}, {"first_ms", g.first_ms}, {"last_ms", g.last_ms}})
                   : paint(fit(code, 24), colour::red, colours) + " "
                       + fit(std::to_string(g.count), 8, true) + "  " + fit(time_of(g.first_ms), 18)
                       + " " + fit(time_of(g.last_ms), 18));
}

// -- show -------------------------------------------------------------------------------

void print(const letter& x) {
  const auto colours = wants_colour(STDOUT_FILENO);
  const auto row = [](const std::string& name, const std::string& text) {
    print_line(fit(name, 10) + printable(text));
  };
  print_line(paint(printable(x.what.job_id), colour::bold, colours) + "  "
             + paint(printable(x.what.code), colour::red, colours));
  row("message", x.what.message);
  row("record", messaging::to_string(x.head.id));
  row("source", x.what.source.topic.empty() ? "?" : messaging::to_string(x.what.source));
  row("time", time_of(x.what.time_ms));
  row("attempts", std::to_string(x.what.attempts));
  row("replays", std::to_string(x.what.replays));
  row("state",
      x.mark ? std::string{to_string(x.mark->what)} + " " + time_of(x.mark->time_ms) : "open");
  row("payload", x.payload_bytes ? bytes_of(*x.payload_bytes) : "none");
  row("key", !x.head.key ? "none" : x.head.key->empty() ? "" : messaging::id_of_key(*x.head.key));
  for (const auto& [name, value] : x.head.headers)
    row("header", value ? name + ": " + *value : name + " (null)");
}

int show(const dlq_options& options, const configs::config& c) {
  // A job's id may look like a record's: a record that exists wins.
  const auto record = parse_record(options.which, c.topics.dead_letters);
  dead_letter_filter by_record, by_job;
  by_job.jobs = {options.which};
  if (record)
    by_record.records = {*record};
  dead_letter_book exact{by_record}, of_job{by_job};
  std::shared_ptr<const std::string> payload, payload_of_job;
  int64_t newest = 0;
  auto ok = read_all(
    c, c.topics.dead_letters,
    [&](const messaging::record& x) {
      const auto what = messaging::read_dead_letter(x);
      const auto is_mark = messaging::read_mark(x).has_value();
      if (record)
        exact.add(x);
      of_job.add(x);
      if (!is_mark && record && by_record.matches(x, what))
        payload = x.value;
      if (!is_mark && by_job.matches(x, what) && what.time_ms >= newest) {
        newest = what.time_ms;
        payload_of_job = x.value;
      }
    },
    options.limit());
  if (!ok)
    return give_up(ok.error());
  auto found = record ? exact.letters(true) : std::vector<letter>{};
  if (found.empty()) {
    found = of_job.letters(true);
    payload = std::move(payload_of_job);
  }
  if (found.empty())
    return give_up({errc::io, "no dead letter " + options.which + " in " + c.topics.dead_letters});
  const auto& it = found.back();
  if (!options.payload.empty()) {
    if (!payload)
      return give_up({errc::io, "it has no payload"});
    if (auto written = write_file(options.payload, *payload); !written)
      return give_up(written.error());
  }
  if (options.json)
    print_line(dumped(to_json(it)));
  else
    print(it);
  if (found.size() > 1)
    std::fprintf(stderr, "%s of this job; this is the latest, `ziyu dlq list --job` lists all\n",
                 counted(found.size(), "dead letter").c_str());
  return exit_ok;
}

int handle(const dlq_options& options, dead_letter_action what) {
  return with_filter(options, [&](const configs::config& c, dead_letter_filter which) {
    return handle_dead_letters(
      c, {what, std::move(which), options.all, options.yes, options.json, options.limit()});
  });
}

using command_options = std::pair<CLI::App*, std::shared_ptr<dlq_options>>;

command_options add(CLI::App& group, const char* name, const char* text, bool with_filters) {
  auto* command = group.add_subcommand(name, text);
  auto options = std::make_shared<dlq_options>();
  options->add_to(*command, with_filters);
  return {command, options};
}

void add_list(CLI::App& group, int& exit_code) {
  auto [command, options] = add(group, "list", "Show dead letters with their reasons", true);
  command->add_flag("--handled", options->handled, "Also those that were replayed or dropped");
  command->footer("Shows what the topic holds now.\n"
                  "Exit codes: 0 shown, 2 wrong usage, 4 no broker or topic.\n"
                  "Example: ziyu dlq list -b localhost:9092 --code max_attempts --since 2h");
  command->callback([options = options, &exit_code] {
    exit_code = with_book(*options, [&](const auto& book) { list(*options, book); });
  });
}

void add_summary(CLI::App& group, int& exit_code) {
  auto [command, options] = add(group, "summary", "Count dead letters by reason", true);
  command->add_flag("--handled", options->handled, "Also those that were replayed or dropped");
  command->footer("Exit codes: 0 shown, 2 wrong usage, 4 no broker or topic.");
  command->callback([options = options, &exit_code] {
    exit_code = with_book(*options, [&](const auto& book) { summary(*options, book); });
  });
}

void add_show(CLI::App& group, int& exit_code) {
  auto [command, options] = add(group, "show", "Show all of one dead letter, and save its payload",
                                false);
  command->add_option("which", options->which, "Its record (as in the list) or its job id")
    ->required()
    ->type_name("RECORD|JOB");
  command->add_option("--payload", options->payload, "Save its payload to this file")
    ->type_name("FILE");
  command->footer("If several dead letters have the job id, the latest one is shown.\n"
                  "Exit codes: 0 shown, 1 there is none, 2 wrong usage, 4 no broker or topic.");
  command->callback([options = options, &exit_code] {
    exit_code = options->connection.use([&](const auto& c) { return show(*options, c); });
  });
}

void add_replay(CLI::App& group, int& exit_code) {
  auto [command, options] = add(
    group, "replay", "Put the jobs of dead letters back into their topic, to be tried again", true);
  command->add_flag("--all", options->all, "Every dead letter that is open");
  command->add_flag("-y,--yes", options->yes, "Do not ask");
  command->footer(
    "Keys, payloads and headers do not change; ziyu-replays and ziyu-history are added.\n"
    "A job and the mark that hides its dead letter are written in one transaction: run it\n"
    "again after an interruption, and no job is replayed twice.\n"
    "Dead letters whose topic is missing, or may not be written to, are refused by name;\n"
    "the others are replayed.\n"
    "Exit codes: 0 all that match, 1 some could not, 2 wrong usage, 4 no broker or topic.\n"
    "Example: ziyu dlq replay -c ziyu.json --code inference_failed --since 1d");
  command->callback([options = options, &exit_code] {
    exit_code = handle(*options, dead_letter_action::replayed);
  });
}

void add_drop(CLI::App& group, int& exit_code) {
  auto [command, options] = add(group, "drop", "Mark dead letters as dealt with, without a replay",
                                true);
  command->add_flag("--all", options->all, "Every dead letter that is open");
  command->add_flag("-y,--yes", options->yes, "Do not ask");
  command->footer(
    "Marked dead letters are hidden; the topic's retention deletes them.\n"
    "Exit codes: 0 all that match, 1 some could not, 2 wrong usage, 4 no broker or topic.");
  command->callback(
    [options = options, &exit_code] { exit_code = handle(*options, dead_letter_action::dropped); });
}

} // namespace

void add_dlq_command(CLI::App& app, int& exit_code) {
  auto* group = app.add_subcommand("dlq",
                                   "Show, replay or drop dead letters: jobs that were given up");
  group->require_subcommand(1);
  group->footer("Exit codes: those of its commands.");
  for (const auto add_to : {add_list, add_summary, add_show, add_replay, add_drop})
    add_to(*group, exit_code);
}

} // namespace ziyu::cli
