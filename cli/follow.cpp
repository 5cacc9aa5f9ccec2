#include "cli/follow.hpp"

#include "cli/command.hpp"
#include "cli/foreign_json.hpp"
#include "cli/interrupt.hpp"
#include "cli/numbers.hpp"
#include "cli/terminal.hpp"
#include "cli/waiting_note.hpp"
#include "messaging/topic_reader.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::seconds connect_limit{10};
constexpr std::chrono::milliseconds poll_limit{200};
/// A topic is given up after so long a silence before its end. If a transaction is open in it, this
/// counts from the time when the transaction should have ended: a broker looks for expired ones
/// every 10 s.
constexpr std::chrono::seconds silence_limit{20};
/// A wait is reported after so long. Most end sooner.
constexpr std::chrono::seconds quiet_wait{2};

clock::duration seconds(double x) {
  return std::chrono::duration_cast<clock::duration>(std::chrono::duration<double>(x));
}

/// Like `messaging::read_topic`, but reports a long wait.
expected<std::unique_ptr<messaging::topic_reader>> open_reader(const configs::config& x,
                                                               const std::string& topic,
                                                               messaging::topic_reader::start from,
                                                               std::chrono::milliseconds limit) {
  auto properties = configs::consumer_properties(x);
  const waiting_note note{"the broker " + properties["bootstrap.servers"]};
  return messaging::read_topic(std::move(properties), topic, from, limit);
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
  command.add_option("--timeout", timeout_s, "End after this time")
    ->check(in_range(0.001, 1e6))
    ->type_name("SECONDS");
  command.add_option("--idle", idle_s, "End when nothing came for this time")
    ->check(in_range(0.001, 1e6))
    ->type_name("SECONDS");
  command.add_flag("--json", json, "Print one JSON object per line, as in the topic");
}

int follow(const follow_options& options,
           const std::function<std::string(const configs::config&)>& topic,
           const std::function<void()>& show_head, const show_record& show) {
  const auto loaded = options.connection.load();
  if (!loaded)
    return exit_wrong_usage;
  const auto start = clock::now();
  // While the command only waits for a broker, Ctrl-C ends the process at once.
  const auto limit = options.timeout_s > 0
                       ? std::min<clock::duration>(connect_limit, seconds(options.timeout_s))
                       : connect_limit;
  auto reader = open_reader(loaded->values, topic(loaded->values),
                            options.from == "beginning" ? messaging::topic_reader::start::beginning
                                                        : messaging::topic_reader::start::end,
                            std::chrono::ceil<std::chrono::milliseconds>(limit));
  if (!reader) {
    print_error(reader.error());
    return exit_code_for(reader.error());
  }
  catch_interrupts();
  if (!options.json)
    show_head();
  uint64_t shown = 0;
  auto last = clock::now();
  auto told = options.waits_for.empty();
  while (!interrupted()) {
    auto next = (*reader)->next(poll_limit);
    if (!next) {
      print_error(next.error());
      return exit_code_for(next.error());
    }
    const auto now = clock::now();
    if (*next) {
      last = now;
      if (show(**next) && ++shown == options.count)
        return exit_ok;
    }
    if (now - start >= quiet_wait && !std::exchange(told, true))
      std::fprintf(stderr, "ziyu: waiting for %s ...\n", printable(options.waits_for).c_str());
    if (output_closed())
      return exit_ok; // `ziyu results | head -1` has seen enough.
    if (std::ferror(stdout) != 0)
      return exit_failed;
    if ((options.timeout_s > 0 && now - start >= seconds(options.timeout_s))
        || (options.idle_s > 0 && now - last >= seconds(options.idle_s)))
      break;
  }
  if (options.count == 0)
    return exit_ok;
  print_error({errc::timeout,
               "only " + std::to_string(shown) + " of " + std::to_string(options.count) + " came"});
  return interrupted() ? exit_interrupted : exit_failed;
}

int follow_values(const follow_options& options,
                  const std::function<std::string(const configs::config&)>& topic,
                  const std::function<std::string(bool colours)>& head,
                  const std::function<std::string(const messaging::record&, bool colours)>& row,
                  const std::function<bool(const messaging::record&)>& wanted) {
  const auto colours = wants_colour(STDOUT_FILENO);
  return follow(
    options, topic, [&] { print_line(head(colours)); },
    [&](const messaging::record& x) {
      if (!x.value || (wanted && !wanted(x)))
        return false;
      const auto line = options.json ? json_line(x) : row(x, colours);
      if (line)
        print_line(*line);
      return line.has_value();
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

std::optional<std::string> json_line(const messaging::record& x) {
  // Parsed for readers of lines: values that others wrote into the topic need not be JSON, nor on
  // one line.
  const auto document = x.value ? parse_foreign<nlohmann::ordered_json>(*x.value)
                                : nlohmann::ordered_json{nlohmann::json::value_t::discarded};
  if (!document.is_discarded())
    return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto deep = x.value && nests_too_deep(*x.value);
  print_error(
    {errc::unknown_schema,
     messaging::to_string(x.id) + (deep ? " nests too deep" : " is not JSON") + ": left out"});
  return std::nullopt;
}

void print_line(const std::string& text) {
  std::fputs((text + "\n").c_str(), stdout);
  std::fflush(stdout);
}

} // namespace ziyu::cli
