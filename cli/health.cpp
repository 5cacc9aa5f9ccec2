// `ziyu health` shows /health or /readyz of a running service, for people, for scripts that wait,
// and for the health check of a container (without curl).

#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"
#include "cli/common/service.hpp"
#include "cli/view/drawing.hpp"

#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds between_tries{100};

struct health_options {
  service_options service;
  double timeout_s = 5, wait_s = 0;
  bool ready = false, live = false, as_json = false;
  const char* path() const { return live ? "/livez" : ready ? "/readyz" : "/health"; }
};

struct answer {
  bool good = false;
  json body; ///< An object.
};

/// The service's answer. `unavailable` when nothing answers, `io` when the answer is not ziyu's.
expected<answer> ask(const std::string& url, const health_options& options, milliseconds limit) {
  auto said = ask_service(url, options.path(), limit);
  if (!said)
    return tl::unexpected(said.error());
  answer result;
  result.body = std::move(said->body);
  result.good = said->status == 200
                && (options.live    ? field(result.body, "status") == "ok"
                    : options.ready ? field(result.body, "ready") == true
                                    : field(result.body, "status") == "healthy");
  return result;
}

void print_row(const char* name, const std::string& text) {
  print_line(fit(name, 9) + printable(text));
}

void print_reasons(const json& body) {
  if (const auto& reasons = field(body, "reasons"); reasons.is_array())
    for (const auto& reason : reasons)
      print_row("because", reason.is_string() ? reason.get<std::string>() : reason.dump());
}

std::string kafka_of(const json& body) {
  if (field(body, "consuming") != true) {
    const auto why = shown_in(body, "kafka");
    return "not consuming" + (why.empty() || why == "?" ? "" : ": " + why);
  }
  const auto& lag = field(body, "lag_records");
  const auto& age = field(body, "oldest_unfinished_s");
  return "consuming, "
         + (lag.is_number() ? counted(lag.get<uint64_t>(), "record") + " behind" : "lag not known")
         + (age.is_number() ? format(", oldest job in hand %.1f s", age.get<double>()) : "");
}

void print_health(const json& body) {
  print_reasons(body);
  const auto& percent = field(body, "memory_percent");
  print_row("memory", (percent.is_number() ? format("%.1f", percent.get<double>()) : "?") + " % ("
                        + shown_bytes_in(body, "memory_used_bytes") + " of "
                        + shown_bytes_in(body, "memory_limit_bytes") + ", "
                        + shown_in(body, "memory_source") + "), threshold "
                        + (field(body, "threshold_exceeded") == true ? "" : "not ") + "exceeded");
  print_row("workers", shown_in(body, "slots_up") + " of " + shown_in(body, "slots") + " up, "
                         + shown_in(body, "standbys") + " warm, " + shown_in(body, "replacements")
                         + " replaced so far");
  print_row("jobs", shown_in(body, "waiting") + " waiting, " + shown_in(body, "running")
                      + " running; " + shown_in(body, "results") + " results, "
                      + shown_in(body, "dead_letters") + " dead letters");
  print_row("kafka", kafka_of(body));
  const auto reason = shown_in(body, "breaker_reason");
  print_row("breaker", shown_in(body, "breaker") + (reason.empty() ? "" : ": " + reason));
}

void print(const std::string& url, const health_options& options, const answer& x) {
  if (options.as_json) {
    print_line(dumped(x.body));
    return;
  }
  const auto status = options.live    ? (x.good ? "alive" : "not alive")
                      : options.ready ? (x.good ? "ready" : "not ready")
                                      : shown_in(x.body, "status");
  print_line(
    paint(printable(status), x.good ? colour::green : colour::red, wants_colour(STDOUT_FILENO))
    + "  " + url);
  if (x.body.contains("error"))
    print_row("error", shown_in(x.body, "error"));
  else if (options.ready)
    print_reasons(x.body);
  else if (!options.live)
    print_health(x.body);
}

int health(const health_options& options, const std::string& url) {
  const auto deadline = clock::now() + to_milliseconds(options.wait_s);
  auto said = ask(url, options, to_milliseconds(options.timeout_s));
  while (!(said && said->good) && clock::now() < deadline) {
    std::this_thread::sleep_for(between_tries);
    said = ask(url, options, to_milliseconds(options.timeout_s));
  }
  if (!said)
    return give_up(said.error());
  print(url, options, *said);
  return said->good ? exit_ok : exit_failed;
}

} // namespace

void add_health_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("health", "Show the health of a running service");
  auto options = std::make_shared<health_options>();
  options->service.add_to(*command);
  command->add_flag("--ready", options->ready,
                    "Ask only whether a job submitted now would be worked on, and if not, why");
  command
    ->add_flag("--live", options->live,
               "Ask only whether its actors answer: if they do not, restart the service")
    ->excludes("--ready");
  add_seconds(*command, "--wait", options->wait_s,
              "Ask again until all is well, for this time at most", 0);
  add_seconds(*command, "--timeout", options->timeout_s, "Longest wait for each answer");
  command->add_flag("--json", options->as_json, "The answer as JSON");
  command->footer("Exit codes: 0 healthy (or ready, or alive), 1 not, 2 wrong usage, 4 no answer,\n"
                  "130 interrupted.\n"
                  "Example: ziyu health --ready --wait 60 localhost:8080");
  command->callback([options, &exit_code] {
    exit_code = options->service.use([&](const auto& url) { return health(*options, url); });
  });
}

} // namespace ziyu::cli
