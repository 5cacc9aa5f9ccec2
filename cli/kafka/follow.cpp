#include "cli/kafka/follow.hpp"

#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/kafka/waiting_note.hpp"
#include "cli/view/terminal.hpp"
#include "messaging/topic_reader.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds connect_limit{10'000};
constexpr std::chrono::milliseconds poll_limit{200};
/// A topic is given up after so long a silence before its end. If a transaction is open in it, this
/// counts from the time when the transaction should have ended: a broker looks for expired ones
/// every 10 s.
constexpr std::chrono::seconds silence_limit{20};
/// A wait is reported after so long. Most end sooner.
constexpr std::chrono::seconds quiet_wait{2};

/// Like `messaging::read_topic`, but reports a long wait.
expected<std::unique_ptr<messaging::topic_reader>> open_reader(const configs::config& x,
                                                               const std::string& topic,
                                                               messaging::topic_reader::start from,
                                                               std::chrono::milliseconds limit) {
  auto properties = configs::consumer_properties(x);
  const waiting_note note{properties};
  return messaging::read_topic(std::move(properties), topic, from, limit);
}

/// The value of a record as JSON on one line. Empty, after a note on standard error, when the value
/// is not JSON.
std::optional<std::string> json_line(const messaging::record& x) {
  // Parsed for readers of lines: values that others wrote into the topic need not be JSON, nor on
  // one line.
  const auto document = parse_foreign<nlohmann::ordered_json>(*x.value);
  if (!document.is_discarded())
    return dumped(document);
  print_error({errc::unknown_schema,
               messaging::to_string(x.id)
                 + (nests_too_deep(*x.value) ? " nests too deep" : " is not JSON") + ": left out"});
  return std::nullopt;
}

/// What is shown of a record; empty when it must not count.
using line_of_record = std::function<std::optional<std::string>(const messaging::record&)>;

int follow_topic(const follow_options& options, const configs::config& x, const std::string& topic,
                 const std::string& head, const line_of_record& line_of) {
  const auto start = clock::now();
  const auto limit = to_milliseconds(options.timeout_s), idle = to_milliseconds(options.idle_s);
  // While the command only waits for a broker, Ctrl-C ends the process at once.
  auto reader = open_reader(x, topic,
                            options.from == "beginning" ? messaging::topic_reader::start::beginning
                                                        : messaging::topic_reader::start::end,
                            options.timeout_s > 0 ? std::min(connect_limit, limit) : connect_limit);
  if (!reader)
    return give_up(reader.error());
  catch_interrupts();
  if (!options.json)
    print_line(head);
  uint64_t shown = 0;
  auto last = clock::now();
  auto told = options.waits_for.empty();
  while (!interrupted()) {
    auto next = (*reader)->next(poll_limit);
    if (!next)
      return give_up(next.error());
    const auto now = clock::now();
    if (*next) {
      last = now;
      if (const auto line = line_of(**next)) {
        print_line(*line);
        if (++shown == options.count)
          return exit_ok;
      }
    }
    if (now - start >= quiet_wait && !std::exchange(told, true))
      print_waiting_for(options.waits_for);
    if (output_closed())
      return exit_ok; // `ziyu results | head -1` has seen enough.
    if (std::ferror(stdout) != 0)
      return exit_failed;
    if ((options.timeout_s > 0 && now - start >= limit)
        || (options.idle_s > 0 && now - last >= idle))
      break;
  }
  if (options.count == 0)
    return exit_ok;
  print_error({errc::timeout,
               "only " + std::to_string(shown) + " of " + std::to_string(options.count) + " came"});
  return interrupted() ? exit_interrupted : exit_failed;
}

} // namespace

void follow_options::add_to(CLI::App& command) {
  connection.add_to(command);
  command
    .add_option("--from", from,
                "Where to start: beginning or end (only what comes from now on; the default)")
    ->check(CLI::IsMember({"beginning", "end"}));
  command
    .add_option("-n,--count", count,
                "End after this number of records; exit code 1 if they do not come in time")
    ->check(no_negative());
  add_seconds(command, "--timeout", timeout_s, "End after this time");
  add_seconds(command, "--idle", idle_s, "End when nothing came for this time");
  command.add_flag("--json", json, "Print one JSON object per line, as in the topic");
}

int follow(const follow_options& options, topic_choice topic,
           const std::function<std::string(bool colours)>& head,
           const std::function<std::string(const messaging::record&, bool colours)>& row,
           const std::function<bool(const messaging::record&)>& wanted) {
  const auto colours = wants_colour(STDOUT_FILENO);
  return options.connection.use([&](const configs::config& x) {
    return follow_topic(options, x, x.topics.*topic, head(colours),
                        [&](const messaging::record& record) -> std::optional<std::string> {
                          if (!record.value || (wanted && !wanted(record)))
                            return std::nullopt;
                          return options.json ? json_line(record) : row(record, colours);
                        });
  });
}

expected<void> read_all(const configs::config& x, const std::string& topic,
                        const std::function<void(const messaging::record&)>& visit,
                        std::chrono::milliseconds limit) {
  auto reader = open_reader(x, topic, messaging::topic_reader::start::beginning, limit);
  if (!reader)
    return tl::unexpected(reader.error());
  const auto open_limit = configs::transaction_timeout(x);
  const auto open = "a transaction is open in topic " + topic
                    + ", by a running service or one that was killed: it ends by itself within its "
                      "transaction.timeout.ms ("
                    + std::to_string(open_limit.count()) + " here)";
  auto last = clock::now();
  auto told = false;
  while (!(*reader)->at_end() && !interrupted()) {
    auto next = (*reader)->next(poll_limit);
    if (!next)
      return tl::unexpected(next.error());
    if (*next) {
      last = clock::now();
      visit(**next);
      continue;
    }
    const auto waits = (*reader)->awaits_transaction();
    const auto silent = clock::now() - last;
    if (silent >= silence_limit + (waits ? open_limit : std::chrono::milliseconds{0}))
      return fail(errc::timeout, waits ? open + "; run it again then"
                                       : "nothing came from topic " + topic + " any more");
    if (waits && silent >= quiet_wait && !std::exchange(told, true))
      std::fprintf(stderr, "waiting: %s\n", open.c_str());
  }
  return {};
}

} // namespace ziyu::cli
