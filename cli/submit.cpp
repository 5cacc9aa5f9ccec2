#include "base/clock.hpp"
#include "base/input_file.hpp"
#include "base/text.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/job_files.hpp"
#include "cli/common/json.hpp"
#include "cli/common/options.hpp"
#include "cli/kafka/answers.hpp"
#include "cli/kafka/connection.hpp"
#include "cli/kafka/uploader.hpp"
#include "cli/kafka/waiting_note.hpp"
#include "cli/view/drawing.hpp"
#include "cli/view/rows.hpp"
#include "messaging/kafka_defaults.hpp"
#include "messaging/kafka_producer.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using nlohmann::json;

struct submit_options {
  connection_options connection;
  std::vector<std::string> inputs, headers;
  std::string format = "raw";
  std::optional<std::string> prefix;
  uint64_t repeat = 1;
  double timeout_s = 30;
  double rate = 0; ///< At most so many jobs a second; 0: as fast as the broker takes them.
  bool wait = false, json = false;
};

expected<messaging::header_list> parse_headers(const std::vector<std::string>& texts) {
  messaging::header_list result;
  for (const auto& x : texts) {
    const auto equals = x.find('=');
    if (equals == x.npos || equals == 0)
      return fail(errc::invalid_usage, "--header " + x + ": expected NAME=VALUE");
    result.emplace_back(x.substr(0, equals), x.substr(equals + 1));
  }
  return result;
}

/// The record of one job.
messaging::outgoing make_record(const submit_options& options, const std::string& topic,
                                const messaging::header_list& headers, const std::string& id,
                                std::string image) {
  messaging::outgoing result;
  result.topic = topic;
  result.key = id;
  result.headers = headers;
  if (options.format == "json") {
    result.value =
      json{{"schema", "ziyu.job.v1"}, {"job_id", id}, {"image", base64_encode(image)}}.dump();
    result.headers.emplace_back("content-type", "application/json");
  } else {
    result.value = std::move(image);
  }
  return result;
}

/// Waits until job number `n` is due at `rate` jobs a second since `started_us`; false after
/// Ctrl-C.
bool wait_for_turn(uint64_t started_us, uint64_t n, double rate) {
  if (rate <= 0)
    return true;
  const auto due = static_cast<int64_t>(started_us)
                   + static_cast<int64_t>(static_cast<double>(n) / rate * 1e6);
  for (auto now = system_environment().monotonic_us(); now < due && !interrupted();
       now = system_environment().monotonic_us())
    std::this_thread::sleep_for(
      std::min(std::chrono::microseconds{due - now}, std::chrono::microseconds{50'000}));
  return !interrupted();
}

/// One run of the command.
class submission {
public:
  submission(const submit_options& options, const configs::config& c, std::vector<job_file> files,
             messaging::header_list headers)
    : options_(options), c_(c), files_(std::move(files)), headers_(std::move(headers)),
      patience_(to_milliseconds(options.timeout_s)), upload_({.patience = patience_}),
      ids_(options.prefix, system_environment().random()), total_(files_.size() * options.repeat) {}

  int run() {
    auto properties = configs::producer_properties(c_);
    messaging::set_default_linger(properties, "5"); // jobs come as fast as they are read
    auto out = messaging::make_kafka_producer(std::move(properties),
                                              [this](auto x) { upload_.report(std::move(x)); });
    if (!out)
      return give_up(out.error());
    if (const auto ready = find_topics(); !ready)
      return give_up(ready.error());
    // Until here Ctrl-C ended the process. From now on sent jobs are accounted for, even when the
    // reader of the ids (`ziyu submit … | head -3`) has seen enough.
    catch_interrupts();
    upload_.connect(**out);
    const auto started = system_environment().monotonic_us();
    {
      progress_bar bar{"submitting", total_};
      send(bar, started);
      settle(bar);
    }
    const auto seconds = static_cast<double>(system_environment().monotonic_us() - started) / 1e6;
    std::fprintf(
      stderr, "%llu of %llu jobs acknowledged in %.1f s%s\n",
      static_cast<unsigned long long>(acknowledged_), static_cast<unsigned long long>(total_),
      seconds,
      taken_ < total_ ? ("; " + std::to_string(total_ - taken_) + " were not tried").c_str() : "");
    const auto answered = !answers_ || wait_for_answers();
    if (interrupted() && (taken_ < total_ || (answers_ && !answers_->open().empty())))
      return exit_interrupted;
    return acknowledged_ == total_ && answered ? exit_ok : exit_failed;
  }

private:
  /// Reports an absent broker or topic at once, not after each job's timeout.
  expected<void> find_topics() {
    const auto properties = configs::common_properties(c_);
    const waiting_note note{properties};
    const auto limit = std::min(patience_, std::chrono::milliseconds{std::chrono::seconds{10}});
    const auto cluster = messaging::read_metadata(properties, limit);
    if (!cluster)
      return tl::unexpected(cluster.error());
    if (cluster->find(c_.topics.jobs) == nullptr)
      return fail(errc::unavailable,
                  "topic " + c_.topics.jobs + " does not exist; `ziyu topics create` makes it");
    if (!options_.wait)
      return {};
    auto answers = answer_reader::open(c_, limit);
    if (!answers)
      return tl::unexpected(answers.error());
    answers_.emplace(std::move(*answers));
    return {};
  }

  void send(progress_bar& bar, uint64_t started) {
    for (uint64_t round = 0; round < options_.repeat; ++round)
      for (const auto& file : files_)
        if (!wait_for_turn(started, taken_, options_.rate) || !send(file, bar) || interrupted())
          return;
  }

  /// False when no more jobs can be sent.
  bool send(const job_file& file, progress_bar& bar) {
    const auto id = ids_.next(file.name);
    auto goes_on = true;
    ++taken_;
    if (auto image = read_input_file(file.path, c_.jobs.max_bytes); !image) {
      bar.clear();
      print_error(image.error());
    } else if (auto done = upload_.submit(
                 id, make_record(options_, c_.topics.jobs, headers_, id, std::move(*image)));
               !done) {
      goes_on = done.error().code != errc::timeout && done.error().code != errc::kafka_fatal;
    }
    tell(bar);
    return goes_on;
  }

  /// Waits until each sent job is acknowledged or given up.
  void settle(progress_bar& bar) {
    for (;;) {
      const auto settled = upload_.settle(std::chrono::milliseconds{100});
      if (!settled)
        upload_.abandon(settled.error().message);
      else if (!*settled && interrupted())
        upload_.abandon("interrupted");
      tell(bar);
      if (!settled || *settled || interrupted())
        return;
    }
  }

  /// Prints ids to standard output (unless the results will go there), failures to standard error.
  void tell(progress_bar& bar) {
    const auto outcomes = upload_.take();
    // On a terminal the ids are printed between two frames of the bar.
    if (!outcomes.empty() && is_terminal(STDOUT_FILENO))
      bar.clear();
    for (const auto& x : outcomes) {
      if (x.failure) {
        bar.clear();
        print_error({x.failure->code, x.job_id + " was not acknowledged: " + x.failure->message});
        continue;
      }
      ++acknowledged_;
      if (answers_)
        answers_->expect(x.where);
      else
        print_line(options_.json ? json{{"job_id", x.job_id},
                                        {"topic", x.where.topic},
                                        {"partition", x.where.partition},
                                        {"offset", x.where.offset}}
                                     .dump()
                                 : x.job_id);
    }
    bar.show(acknowledged_);
  }

  /// Shows answers as they come; true when each job has a successful result.
  bool wait_for_answers() {
    const auto colours = wants_colour(STDOUT_FILENO);
    if (!options_.json)
      print_line(result_head(colours));
    auto good = true;
    auto last = system_environment().monotonic_us();
    while (!answers_->open().empty() && !interrupted() && !output_closed()) {
      const auto next = answers_->next(std::chrono::milliseconds{200});
      if (!next) {
        print_error(next.error());
        return false;
      }
      const auto now = system_environment().monotonic_us();
      if (*next) {
        last = now;
        good = show(**next, colours) && good;
      } else if (now - last > patience_.count() * 1000) {
        print_error({errc::timeout, std::to_string(answers_->open().size())
                                      + " jobs have no answer, and none came for "
                                      + format("%g s", options_.timeout_s)
                                      + " (--timeout); the first is "
                                      + messaging::to_string(*answers_->open().begin())});
        return false;
      }
    }
    // A reader that went away has seen enough.
    return good && (answers_->open().empty() || output_closed());
  }

  /// False for the answer to a failed job.
  bool show(const answer_reader::answer& x, bool colours) const {
    if (x.dead) {
      const auto& value = x.what.value;
      auto letter = dead_letter_json(x.what, value ? std::optional{value->size()} : std::nullopt);
      letter["status"] = "dead_letter";
      print_line(options_.json ? dumped(letter) : dead_letter_answer_row(x.what, colours));
      return false;
    }
    const auto document = value_of(x.what);
    print_line(options_.json ? dumped(document) : result_row(x.what, colours));
    return text_in(document, "status") == "ok";
  }

  const submit_options& options_;
  const configs::config& c_;
  const std::vector<job_file> files_;
  const messaging::header_list headers_;
  const std::chrono::milliseconds patience_;
  uploader upload_;
  job_ids ids_;
  const uint64_t total_;
  uint64_t taken_ = 0, acknowledged_ = 0;
  std::optional<answer_reader> answers_; ///< With --wait.
};

int submit(const submit_options& options, const configs::config& c) {
  auto headers = parse_headers(options.headers);
  auto files = find_job_files(options.inputs, std::cin);
  if (!headers || !files) {
    print_error(!headers ? headers.error() : files.error());
    return exit_wrong_usage;
  }
  return submission{options, c, std::move(*files), std::move(*headers)}.run();
}

} // namespace

void add_submit_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand(
    "submit", "Submit images as jobs; prints the id of each acknowledged job");
  auto options = std::make_shared<submit_options>();
  add_inputs(*command, options->inputs);
  options->connection.add_to(*command);
  command
    ->add_option("--format", options->format,
                 "raw: the image itself; json: base64 in JSON (ziyu.job.v1)")
    ->check(CLI::IsMember({"raw", "json"}))
    ->capture_default_str();
  command
    ->add_option("--id-prefix", options->prefix,
                 "Make job ids of this prefix (may be empty) and the file's name, the same in each "
                 "run (default: unique ids)")
    ->type_name("TEXT");
  command
    ->add_option("--header", options->headers,
                 "A header of each record, e.g., ziyu-fault=crash; may be repeated")
    ->type_name("NAME=VALUE")
    ->allow_extra_args(false);
  command
    ->add_option("--repeat", options->repeat, "Submit everything this many times, with new ids")
    ->check(CLI::Range(1, 1'000'000))
    ->capture_default_str();
  command
    ->add_option("--rate", options->rate,
                 "At most this many jobs a second (default: as fast as the broker takes them)")
    ->check(in_range(0.001, 1e6))
    ->type_name("NUMBER");
  add_seconds(*command, "--timeout", options->timeout_s,
              "Give up when no job was acknowledged, or answered, for this time");
  command->add_flag(
    "-w,--wait", options->wait,
    "Wait for the result or dead letter of each job, and print that instead of ids");
  command->add_flag(
    "--json", options->json,
    "Print one JSON object per line, with topic, partition and offset; with --wait the answer");
  command->footer(
    "Exit codes: 0 all acknowledged (with --wait: all have a result), 1 some failed\n"
    "(standard error says which), 2 wrong usage, 4 no broker or topic, 130 interrupted.\n"
    "Example: ziyu submit -b localhost:9092 tests/data/digits | head -3");
  command->callback([options, &exit_code] {
    exit_code = options->connection.use([&](const auto& c) { return submit(*options, c); });
  });
}

} // namespace ziyu::cli
