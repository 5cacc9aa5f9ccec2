// `ziyu demo`: a real Kafka, a real service, real jobs, a leak, and its healing.

#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/demo/account.hpp"
#include "cli/demo/screen.hpp"
#include "cli/demo/stage.hpp"
#include "cli/demo/sweeper.hpp"
#include "cli/kafka/uploader.hpp"
#include "cli/view/chart.hpp"
#include "cli/view/drawing.hpp"
#include "messaging/kafka_producer.hpp"
#include "supervision/wire/fault_spec.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

#include <unistd.h>

namespace ziyu::cli {

namespace {

using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// Jobs count as lost after so long without any answer.
constexpr auto patience = 60s;

/// The slot with the fault.
constexpr uint32_t faulty_slot = 0;

/// The run without healing ends here: it shows the growth and need not fill the memory.
constexpr uint64_t unhealed_limit_bytes = uint64_t{1} << 30;
/// Jobs in flight in that run: enough for all workers, and few enough for a quick end.
constexpr uint64_t unhealed_in_flight = 32;

struct demo_options {
  uint64_t jobs = 500;
  std::string leak = "retain_tensors:6MiB", report, chart = "ziyu-memory.svg";
  std::string images, keep;
  bool serve = false, comparison = true;
};

/// Whether a fault makes the worker grow; the others make it fail.
bool is_leak(const std::string& fault) {
  const auto name = fault.substr(0, fault.find(':'));
  return !name.empty() && name != "crash" && name != "hang" && name != "slow" && name != "garbage"
         && name != "oom";
}

/// "; slot 0 leaks: retain_tensors:6MiB"
std::string described(const std::string& fault) {
  return fault.empty() ? "" : (is_leak(fault) ? "; slot 0 leaks: " : "; slot 0 fails: ") + fault;
}

/// The exit codes of errors that stop the demo.
struct stopped {
  int code;
};

/// Submits jobs to a stage and follows their outcomes.
class run {
public:
  run(demo_stage& stage, const demo_images& images, demo_screen& out, std::string phase,
      uint64_t budget)
    : stage_(stage), images_(images), screen_(out) {
    now_.phase = std::move(phase);
    now_.budget_bytes = budget;
  }

  /// Submits, and shows answers meanwhile.
  expected<void> submit(uint64_t jobs) {
    account_.expect(jobs);
    return feed([=](uint64_t submitted) { return submitted < jobs ? next::job : next::end; });
  }

  /// Submits a few jobs at a time until the goal is reached.
  expected<void> submit_until(const comparison_goal& goal) {
    auto last_answer = clock::now();
    uint64_t answered = 0;
    return feed([&, goal](uint64_t submitted) {
      if (std::exchange(answered, account_.answered()) != account_.answered())
        last_answer = clock::now();
      if (goal.reached(account_) || clock::now() - last_answer > patience)
        return next::end;
      if (submitted < goal.max_submitted && account_.lost() < unhealed_in_flight)
        return next::job;
      return account_.complete() ? next::end : next::answer;
    });
  }

  /// Until all jobs are answered, patience is over, or an interrupt.
  expected<void> follow() {
    auto last_answer = clock::now();
    while (!account_.complete()) {
      if (auto ok = check(); !ok)
        return ok;
      const auto before = account_.answered();
      step(50ms);
      if (account_.answered() != before)
        last_answer = clock::now();
      else if (clock::now() - last_answer > patience)
        break;
    }
    now_.seconds = seconds_since_start();
    return {};
  }

  /// Shows the end of the run, with its overall throughput.
  void finish() {
    now_.jobs_per_second = now_.seconds > 0
                             ? static_cast<double>(account_.answered()) / now_.seconds
                             : 0;
    screen_.finish(account_, now_);
  }

  /// Reads the remaining records of the topics, until none comes for a moment.
  void read_rest() {
    while (read_all(500ms) > 0) {
    }
  }

  const demo_account& account() const { return account_; }
  const demo_moment& moment() const { return now_; }

private:
  /// The next action of a run: submit a job, wait for answers, or end.
  enum class next { job, answer, end };

  /// Submits as long as `decide` (called with the number of jobs so far) says so.
  template <class Decide>
  expected<void> feed(Decide decide) {
    started_ = clock::now();
    uploader upload{{}};
    auto out = messaging::make_kafka_producer(stage_.client(),
                                              [&](auto x) { upload.report(std::move(x)); });
    if (!out)
      return tl::unexpected(out.error());
    upload.connect(**out);
    uint64_t submitted = 0;
    for (auto what = decide(submitted); what != next::end; what = decide(submitted)) {
      if (what == next::job)
        if (auto ok = submit_one(upload, ++submitted); !ok)
          return ok;
      if (auto ok = check(upload); !ok)
        return ok;
      if (what == next::answer || clock::now() - stepped_ > 100ms)
        step(what == next::answer ? 20ms : 0ms);
    }
    for (;;) {
      auto settled = upload.settle(10ms);
      if (!settled)
        return tl::unexpected(settled.error());
      if (auto ok = check(upload); !ok || *settled)
        return ok;
      step(40ms);
    }
  }

  expected<void> submit_one(uploader& upload, uint64_t number) {
    const auto& image = images_.all[(number - 1) % images_.all.size()];
    char id[32];
    std::snprintf(id, sizeof id, "demo-%06llu", static_cast<unsigned long long>(number));
    messaging::outgoing x;
    x.topic = stage_.jobs();
    x.key = id;
    x.value = image.bytes;
    account_.submitted(id, image.label);
    return upload.submit(id, std::move(x));
  }

  expected<void> check() {
    if (interrupted())
      return fail(errc::stopping, "interrupted");
    if (!stage_.running())
      return fail(errc::unavailable, "the service has ended:\n" + stage_.log_tail());
    return {};
  }

  expected<void> check(uploader& upload) {
    for (const auto& x : upload.take())
      if (x.failure)
        return fail(x.failure->code, x.job_id + " was not acknowledged: " + x.failure->message);
    return check();
  }

  double seconds_since_start() const {
    return std::chrono::duration<double>(clock::now() - started_).count();
  }

  /// Takes the records that have come and shows them.
  void step(std::chrono::milliseconds limit) {
    read_all(limit);
    stepped_ = clock::now();
    now_.seconds = seconds_since_start();
    rate_.add(now_.seconds, account_.answered());
    now_.jobs_per_second = rate_.per_second();
    screen_.show(account_, now_);
  }

  size_t read_all(std::chrono::milliseconds limit) {
    size_t count = 0;
    auto drain = [&](messaging::topic_reader& from, std::chrono::milliseconds wait, auto handle) {
      for (auto record = from.next(wait); record && *record; record = from.next(0ms)) {
        ++count;
        handle(**record);
      }
    };
    drain(stage_.events(), 0ms, [&](const messaging::record& x) {
      if (const auto event = events::event_from_json(value_of(x)))
        account_.on_event(*event);
    });
    drain(stage_.dead_letters(), 0ms,
          [&](const messaging::record& x) { account_.on_dead_letter(x.key.value_or("")); });
    drain(stage_.results(), limit, [&](const messaging::record& x) {
      auto result = messaging::result_from_json(value_of(x));
      if (!result)
        return;
      account_.on_result(*result);
      now_.latest.push_back(std::move(*result));
      if (now_.latest.size() > 6)
        now_.latest.erase(now_.latest.begin());
    });
    return count;
  }

  demo_stage& stage_;
  const demo_images& images_;
  demo_screen& screen_;
  demo_moment now_;
  demo_account account_;
  rate_meter rate_;
  clock::time_point started_ = clock::now(), stepped_{};
};

void add_series(chart& to, uint32_t slot, const std::vector<demo_account::reading>& readings,
                std::string name, std::string colour, bool dashed = false) {
  chart_series s{std::move(name), std::move(colour), dashed, {}};
  for (const auto& x : readings)
    s.points.emplace_back(static_cast<double>(x.at_result),
                          static_cast<double>(x.private_bytes) / 0x1p20);
  s.name = "slot " + std::to_string(slot) + s.name;
  to.series.push_back(std::move(s));
}

/// A dot at the last reading of each replaced worker.
void add_marks(chart& to, const demo_account& from) {
  for (const auto& x : from.replacements())
    if (auto i = from.by_slot().find(x.slot); i != from.by_slot().end()) {
      const auto last = std::find_if(i->second.rbegin(), i->second.rend(),
                                     [&](const auto& r) { return r.generation == x.generation; });
      if (last != i->second.rend())
        to.marks.emplace_back(static_cast<double>(last->at_result),
                              static_cast<double>(last->private_bytes) / 0x1p20);
    }
  if (to.marks.empty())
    return;
  const auto count = to.marks.size();
  const auto [x, y] = to.marks[count > 1 ? count - 2 : 0];
  to.notes.push_back({x, y, "healed: " + counted(count, "replacement"), "#0f766e", true});
}

/// The growth of the leak without healing.
void add_growth(chart& to, const demo_account& from) {
  if (auto i = from.by_slot().find(faulty_slot); i != from.by_slot().end() && !i->second.empty()) {
    const auto& last = i->second.back();
    to.notes.push_back(
      {static_cast<double>(last.at_result), static_cast<double>(last.private_bytes) / 0x1p20,
       "left alone: " + bytes_of(last.private_bytes) + " after " + counted(i->second.size(), "job"),
       "#dc2626"});
  }
}

class demo {
public:
  explicit demo(const demo_options& options) : o_(options) {}

  int execute() {
    try {
      return run_all();
    } catch (const stopped& x) {
      return x.code;
    }
  }

private:
  template <class T>
  T need(expected<T> x) {
    if (x)
      return std::move(*x);
    give_up(x.error());
  }
  void need(expected<void> x) {
    if (!x)
      give_up(x.error());
  }
  [[noreturn]] void give_up(const error& x) {
    if (x.code == errc::stopping)
      throw stopped{exit_interrupted};
    throw stopped{cli::give_up(x)};
  }

  int run_all() {
    check_outputs();
    const auto images = need(demo_images::load(o_.images));
    std::optional<swept_folder> temporary;
    std::filesystem::path folder = o_.keep;
    if (folder.empty())
      folder = temporary.emplace(need(swept_folder::make("ziyu-demo"))).path();
    else if (std::error_code status; !std::filesystem::create_directories(folder, status) && status)
      give_up({errc::invalid_usage, "--keep " + o_.keep + ": " + status.message()});
    screen_.say("Starting a real Kafka broker ...");
    broker::broker_settings kafka;
    kafka.folder = folder / "kafka";
    kafka.cancelled = interrupted;
    auto broker = need(broker::embedded_broker::start(std::move(kafka)));
    screen_.say("Kafka is at " + broker.bootstrap() + ". Starting the service ...");

    stage_settings settings;
    settings.name = "demo";
    settings.leak = o_.leak;
    auto healed_stage = need(demo_stage::start(broker.bootstrap(), folder, images, settings));
    screen_.say("The service is at http://" + healed_stage.http()
                + " (/health /workers /ledger /metrics).\n");
    run healed{healed_stage, images, screen_, "classifying images" + described(o_.leak),
               settings.budget_bytes};
    need(healed.submit(o_.jobs));
    need(healed.follow());
    if (!o_.serve) {
      end(healed_stage);
      healed.read_rest(); // The last replacements are reported at the end.
    }
    healed.finish();
    if (o_.serve) {
      serve_on(broker, healed_stage);
      end(healed_stage);
      healed.read_rest();
    }
    std::optional<demo_account> unhealed;
    if (is_leak(o_.leak) && o_.comparison && !interrupted())
      unhealed = compare(broker, folder, images, settings, goal_after(healed.account()));
    write_chart(healed.account(), unhealed ? &*unhealed : nullptr, settings.budget_bytes);
    return conclude(healed, unhealed ? &*unhealed : nullptr);
  }

  /// A file that cannot be written must be reported now, not after minutes.
  void check_outputs() {
    for (const auto& [flag, file] : {std::pair{"--report", &o_.report}, {"--chart", &o_.chart}}) {
      if (file->empty())
        continue;
      const auto folder = std::filesystem::absolute(*file).parent_path();
      std::error_code status; // of a path that leads through a file: no folder
      if (!std::filesystem::is_directory(folder, status) || ::access(folder.c_str(), W_OK) != 0
          || std::filesystem::is_directory(*file, status))
        give_up({errc::invalid_usage, std::string{flag} + " " + *file + ": cannot be written"});
    }
  }

  void end(demo_stage& stage) {
    const auto how = stage.end();
    if (how.exit_code != 0 || how.signal != 0)
      give_up(
        {errc::unavailable, "the service ended with " + how.describe() + ":\n" + stage.log_tail()});
  }

  /// As many jobs for the leaking slot as it had with healing, however many the other slots do
  /// meanwhile.
  comparison_goal goal_after(const demo_account& healed) const {
    return {faulty_slot, std::max<uint64_t>(1, healed.results_of(faulty_slot)),
            unhealed_limit_bytes, 20 * o_.jobs + 100};
  }

  /// The same leak without healing.
  demo_account compare(broker::embedded_broker& broker, const std::filesystem::path& folder,
                       const demo_images& images, stage_settings settings,
                       const comparison_goal& goal) {
    screen_.say("For comparison: the same leak without healing ...\n");
    settings.name = "unhealed";
    settings.healing = false;
    auto stage = need(demo_stage::start(broker.bootstrap(), folder, images, settings));
    run unhealed{stage, images, screen_, "left alone" + described(o_.leak), settings.budget_bytes};
    need(unhealed.submit_until(goal));
    unhealed.finish();
    return unhealed.account();
  }

  void serve_on(broker::embedded_broker& broker, demo_stage& stage) {
    screen_.say(
      "All jobs are done; still serving until Ctrl-C. Submit more from another terminal:\n"
      "  ziyu submit --brokers "
      + broker.bootstrap()
      + " tests/data/digits\n"
        "  ziyu results --brokers "
      + broker.bootstrap()
      + " --from beginning\n"
        "  curl http://"
      + stage.http() + "/health");
    while (!interrupted() && stage.running())
      std::this_thread::sleep_for(100ms);
  }

  void write_chart(const demo_account& healed, const demo_account* unhealed, uint64_t budget) {
    if (o_.chart.empty())
      return;
    chart c;
    c.title = "Private memory per worker" + described(o_.leak);
    c.x_label = "jobs finished";
    c.y_label = "MiB";
    c.limit = {static_cast<double>(budget) / 0x1p20, "budget"};
    c.marks_name = "replaced by a warm standby";
    static constexpr const char* colours[] = {"#0f766e", "#1d4ed8", "#7c3aed", "#a16207"};
    for (const auto& [slot, readings] : healed.by_slot())
      add_series(c, slot, readings,
                 !is_leak(o_.leak)     ? ""
                 : slot == faulty_slot ? ", leaking: healed"
                                       : ", healthy",
                 colours[slot % std::size(colours)]);
    add_marks(c, healed);
    // Only the leaking slot of the other run: its other slots are as flat as here.
    if (unhealed && unhealed->by_slot().contains(faulty_slot)) {
      add_series(c, faulty_slot, unhealed->by_slot().at(faulty_slot), ", leaking: left alone",
                 "#dc2626", true);
      add_growth(c, *unhealed);
    }
    need(write_file(o_.chart, to_svg(c)));
  }

  int conclude(const run& healed, const demo_account* unhealed) {
    const auto& a = healed.account();
    demo_outcome outcome{healed.moment().seconds, healed.moment().budget_bytes, {}, {}};
    auto report = a.report();
    report["seconds"] = outcome.seconds;
    report["jobs_per_second"] = healed.moment().jobs_per_second;
    report["budget_bytes"] = outcome.budget_bytes;
    report["leak"] = o_.leak;
    if (unhealed) {
      const auto goal = goal_after(a);
      outcome.unhealed = unhealed_outcome{faulty_slot, unhealed->peak_private_bytes(),
                                          unhealed->results_of(faulty_slot),
                                          goal.at_limit(*unhealed)};
      report["leaking_slot"] = {{"slot", faulty_slot}, {"results", a.results_of(faulty_slot)}};
      report["without_healing"] = {{"results", unhealed->results()},
                                   {"leaking_slot_results", outcome.unhealed->results},
                                   {"at_limit", outcome.unhealed->at_limit},
                                   {"peak_private_bytes", outcome.unhealed->peak_bytes}};
    }
    if (!o_.report.empty())
      need(write_file(o_.report, report.dump(2) + "\n"));
    if (!o_.chart.empty())
      outcome.pointers.emplace_back("memory chart", o_.chart);
    if (!o_.report.empty())
      outcome.pointers.emplace_back("report", o_.report);
    outcome.pointers.emplace_back("next",
                                  "`ziyu demo --serve` goes on and takes images of your own");
    for (const auto& x :
         draw_ledger(a, outcome, terminal_width(STDOUT_FILENO), wants_colour(STDOUT_FILENO)))
      print_line(x);
    return a.lost() == 0 ? exit_ok : exit_failed;
  }

  demo_options o_;
  demo_screen screen_;
};

} // namespace

void add_demo_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand(
    "demo", "Show Ziyu at work: a real Kafka, real jobs, a leaking worker, its healing");
  auto options = std::make_shared<demo_options>();
  command->add_option("--jobs", options->jobs, "How many jobs to submit")
    ->check(CLI::Range(1, 10'000'000))
    ->capture_default_str();
  command
    ->add_option("--leak", options->leak,
                 "Fault of slot 0, e.g., retain_tensors:6MiB, native_malloc:1MiB, crash; none")
    ->capture_default_str()
    ->type_name("FAULT");
  command->add_option("--report", options->report, "Write the final account as JSON")
    ->type_name("FILE");
  command->add_option("--chart", options->chart, "Write the memory chart as SVG; empty: none")
    ->capture_default_str()
    ->type_name("FILE");
  command
    ->add_option("--images", options->images,
                 "Folder of PNG files with labels.json (default: the held-out digits)")
    ->type_name("DIR");
  command
    ->add_option("--keep", options->keep,
                 "Keep configuration, logs and Kafka's data in this folder")
    ->type_name("DIR");
  command->add_flag("--serve", options->serve, "Keep serving after the jobs, until Ctrl-C");
  command->add_flag("!--no-comparison", options->comparison,
                    "Leave out the second run, which is without healing");
  command->footer(
    "Exit codes: 0 nothing was lost, 1 something was lost or failed, 2 wrong usage, 4 "
    "no broker, 130 interrupted.");
  command->callback([options, &exit_code] {
    if (options->leak == "none")
      options->leak.clear();
    if (auto fault = wire::parse_fault(options->leak); !fault) {
      print_error({errc::invalid_usage, "--leak: " + fault.error().message});
      exit_code = exit_wrong_usage;
      return;
    }
    catch_interrupts();
    exit_code = demo{*options}.execute();
  });
}

} // namespace ziyu::cli
