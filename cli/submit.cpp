#include "base/clock.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/command.hpp"
#include "cli/connection.hpp"
#include "cli/follow.hpp"
#include "cli/interrupt.hpp"
#include "cli/job_files.hpp"
#include "cli/terminal.hpp"
#include "cli/uploader.hpp"
#include "messaging/kafka_producer.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

struct submit_options {
  connection_options connection;
  std::vector<std::string> inputs, headers;
  std::string format = "raw", prefix;
  uint64_t repeat = 1;
  double timeout_s = 30;
  double rate = 0; ///< Jobs a second at most; 0: as fast as the broker takes them.
  bool json = false;
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
      nlohmann::json{{"schema", "ziyu.job.v1"}, {"job_id", id}, {"image", base64_encode(image)}}
        .dump();
    result.headers.emplace_back("content-type", "application/json");
  } else {
    result.value = std::move(image);
  }
  return result;
}

/// Prints what became of jobs: ids on standard output, failures on standard error.
struct account {
  uint64_t acknowledged = 0, failed = 0;

  void add(const std::vector<uploader::outcome>& outcomes, bool json, progress_bar& bar) {
    // The ids go between two frames of the bar, unless they go elsewhere.
    if (!outcomes.empty() && is_terminal(STDOUT_FILENO))
      bar.clear();
    for (const auto& x : outcomes) {
      if (x.failure) {
        ++failed;
        bar.clear();
        print_error({x.failure->code, x.job_id + " was not acknowledged: " + x.failure->message});
        continue;
      }
      ++acknowledged;
      print_line(json ? nlohmann::json{{"job_id", x.job_id},
                                       {"topic", x.where.topic},
                                       {"partition", x.where.partition},
                                       {"offset", x.where.offset}}
                          .dump()
                      : x.job_id);
    }
  }
};

/// Waits for the turn of job number `n` at `rate` jobs a second since `started_us`; false
/// after Ctrl-C.
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

int submit(const submit_options& options) {
  const auto loaded = options.connection.load();
  if (!loaded)
    return exit_wrong_usage;
  const auto headers = parse_headers(options.headers);
  const auto files = find_job_files(options.inputs, std::cin);
  if (!headers || !files) {
    print_error(!headers ? headers.error() : files.error());
    return exit_wrong_usage;
  }
  const std::chrono::milliseconds patience{static_cast<int64_t>(options.timeout_s * 1000)};
  uploader upload{{.patience = patience}};
  auto out = messaging::make_kafka_producer(
    configs::producer_properties(loaded->values),
    [&upload](messaging::delivery_report x) { upload.report(std::move(x)); });
  if (!out) {
    print_error(out.error());
    return exit_code_for(out.error());
  }
  // An absent broker is said at once, not after each job ran out of time.
  const auto cluster = messaging::read_metadata(
    configs::common_properties(loaded->values),
    std::min(patience, std::chrono::milliseconds{std::chrono::seconds{10}}));
  if (!cluster) {
    print_error(cluster.error());
    return exit_code_for(cluster.error());
  }
  if (cluster->find(loaded->values.topics.jobs) == nullptr) {
    print_error({errc::unavailable, "topic " + loaded->values.topics.jobs
                                      + " does not exist; `ziyu topics create` makes it"});
    return exit_unavailable;
  }
  // Ctrl-C ended the process until here; from now on what was sent is accounted for, even
  // when the reader of the ids (`ziyu submit … | head -3`) has seen enough.
  catch_interrupts();
  survive_closed_output();
  upload.connect(**out);
  job_ids ids{options.prefix, system_environment().random()};
  const auto total = files->size() * options.repeat;
  account result;
  uint64_t taken = 0;
  const auto started = system_environment().monotonic_us();
  {
    progress_bar bar{"submitting", total};
    auto going = true;
    for (uint64_t round = 0; going && round < options.repeat; ++round)
      for (size_t i = 0; going && i < files->size(); ++i) {
        if (!wait_for_turn(started, taken, options.rate)) {
          going = false;
          break;
        }
        const auto& file = (*files)[i];
        const auto id = ids.next(file.name);
        ++taken;
        if (auto image = read_file(file.path, uint64_t{1} << 30); !image) {
          ++result.failed;
          bar.clear();
          print_error(image.error());
        } else if (auto done = upload.submit(id, make_record(options, loaded->values.topics.jobs,
                                                             *headers, id, std::move(*image)));
                   !done) {
          going = done.error().code != errc::timeout && done.error().code != errc::kafka_fatal;
        }
        result.add(upload.take(), options.json, bar);
        bar.show(result.acknowledged);
        going = going && !interrupted();
      }
    for (;;) {
      const auto settled = upload.settle(std::chrono::milliseconds{100});
      if (!settled)
        upload.abandon(settled.error().message);
      else if (!*settled && interrupted())
        upload.abandon("interrupted");
      result.add(upload.take(), options.json, bar);
      bar.show(result.acknowledged);
      if (!settled || *settled || interrupted())
        break;
    }
  }
  const auto seconds = static_cast<double>(system_environment().monotonic_us() - started) / 1e6;
  std::fprintf(stderr, "%llu of %llu jobs acknowledged in %.1f s%s\n",
               static_cast<unsigned long long>(result.acknowledged),
               static_cast<unsigned long long>(total), seconds,
               taken < total ? ("; " + std::to_string(total - taken) + " were not tried").c_str()
                             : "");
  return result.acknowledged == total ? exit_ok : exit_failed;
}

} // namespace

void add_submit_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand(
    "submit", "Submit images as jobs; prints the id of each acknowledged job");
  auto options = std::make_shared<submit_options>();
  command
    ->add_option("inputs", options->inputs,
                 "Files, folders (with all below), or - for a list of paths on standard input")
    ->required()
    ->type_name("PATH");
  options->connection.add_to(*command);
  command
    ->add_option("--format", options->format,
                 "raw: the image itself; json: base64 in JSON (ziyu.job.v1)")
    ->check(CLI::IsMember({"raw", "json"}))
    ->capture_default_str();
  command
    ->add_option("--id-prefix", options->prefix,
                 "Job ids are this and the file's name, the same in each run; else unique ones")
    ->type_name("TEXT");
  command
    ->add_option("--header", options->headers,
                 "A header of each record, e.g., ziyu-fault=crash; may be repeated")
    ->type_name("NAME=VALUE")
    ->allow_extra_args(false);
  command->add_option("--repeat", options->repeat, "Submit everything so many times, with new ids")
    ->check(CLI::Range(1, 1'000'000))
    ->capture_default_str();
  command
    ->add_option("--rate", options->rate,
                 "At most so many jobs a second; else as fast as the broker takes them")
    ->check(CLI::Range(0.001, 1e6))
    ->type_name("NUMBER");
  command
    ->add_option("--timeout", options->timeout_s,
                 "Give up when nothing was acknowledged for so many seconds")
    ->check(CLI::Range(0.001, 1e6))
    ->type_name("SECONDS")
    ->capture_default_str();
  command->add_flag("--json", options->json,
                    "Print topic, partition and offset too, a JSON object a line");
  command->footer("Exit codes: 0 all acknowledged, 1 some not (standard error says which), 2 wrong "
                  "usage, 4 no broker or topic.\n"
                  "Example: ziyu submit -b localhost:9092 tests/data/digits | head -3");
  command->callback([options, &exit_code] { exit_code = submit(*options); });
}

} // namespace ziyu::cli
