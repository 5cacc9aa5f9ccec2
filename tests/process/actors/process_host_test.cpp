// The supervisor and its inference actors over a real fork server and real workers.

#include "actors/process_host.hpp"

#include "actors/inference.hpp"
#include "actors/status_json.hpp"
#include "actors/supervisor.hpp"
#include "base/file.hpp"
#include "support/places.hpp"
#include "tests/support/fork_server_process.hpp"

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <caf/scoped_actor.hpp>
#include <nlohmann/json.hpp>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using nlohmann::json;

struct system_config : caf::actor_system_config {
  system_config() {
    set("scheduler.max-threads", size_t{2});
    load<caf::io::middleman>();
  }
};

/// A BMP of one bit a pixel; the width is a multiple of 32.
std::string bitmap_of_one_bit(uint32_t width, uint32_t height) {
  constexpr uint32_t offset = 14 + 40 + 8;
  std::string x(offset + size_t{width} / 8 * height, '\x55');
  x.replace(0, offset, offset, '\0');
  auto put = [&](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i)
      x[at + i] = static_cast<char>(value >> (8 * i));
  };
  put(0, 0x4d42); // "BM"
  put(10, offset);
  put(14, 40);
  put(18, width);
  put(22, height);
  put(26, 1 | 1 << 16); // planes, bits
  put(46, 2);           // colours
  put(58, 0xffffff);
  return x;
}

/// A dispatcher that has no jobs.
dispatcher_actor::behavior_type idle_dispatcher(dispatcher_actor::pointer) {
  return {
    [](const fetched_jobs&) {},
    [](const messaging::partitions_assigned&) {},
    [](const revocation&) {},
    [](const messaging::offsets_committed&) {},
    [](const messaging::consumer_failed&) {},
    [](atom::slot_up, uint32_t, const inference_actor&, uint32_t) {},
    [](const published_records&) {},
    [](const plan_request&) { return transaction_plan{}; },
    [](const breaker_input&) {},
    [](atom::reachable) {},
    [](atom::status) { return dispatcher_status{}; },
    [](const breaker_command&) { return dispatcher_status{}; },
    [](atom::drain, uint64_t) { return true; },
    [](atom::resume) { return true; },
    [](atom::tick) {},
    [](atom::retry) {},
    [](atom::deadline) {},
  };
}

/// Takes over the log for as long as it lives, and passes it on to standard error.
class log_book {
public:
  log_book() { spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink_)); }
  ~log_book() { spdlog::set_default_logger(before_); }
  std::string text() const { return sink_->text(); }

private:
  struct sink : spdlog::sinks::base_sink<std::mutex> {
    std::string text() {
      std::lock_guard guard{mutex_};
      return lines;
    }
    void sink_it_(const spdlog::details::log_msg& msg) override {
      const std::string line{msg.payload.data(), msg.payload.size()};
      lines += line + '\n';
      std::fprintf(stderr, "%s\n", line.c_str());
    }
    void flush_() override {}
    std::string lines;
  };

  std::shared_ptr<sink> sink_ = std::make_shared<sink>();
  std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
};

class ProcessHost : public ::testing::Test {
protected:
  ~ProcessHost() override {
    if (!slots_.empty()) {
      if (!drained_)
        drain(2'000);
      self->send_exit(aut, caf::exit_reason::user_shutdown);
      self->wait_for(aut);
    }
    self->send_exit(dispatcher_, caf::exit_reason::user_shutdown);
    for (auto pid : seen)
      if (!gone(pid))
        ::kill(pid, SIGKILL);
  }

  void start(const std::filesystem::path& model = digits_model,
             const char* program = "ziyu-worker") {
    process_host_settings p;
    p.executable = std::filesystem::path{test::program_dir()} / program;
    p.stats = stats;
    p.faults_allowed = true;
    settings.model = model.string();
    settings.slots = 1;
    settings.standbys = 1;
    settings.grace = 500ms;
    settings.healing.hard_limit_bytes = uint64_t{1} << 30;
    settings.host = std::make_shared<process_host>(sys, std::move(p));
    settings.report = report;
    settings.dispatcher = dispatcher_;
    settings.on_model = [](const auto&) {};
    settings.on_fatal = [this](error x) {
      std::lock_guard guard{mutex_};
      fatal_ = std::move(x);
    };
    inference_settings each;
    each.faults_allowed = true;
    each.dispatcher = dispatcher_;
    auto make = [this, each](uint32_t slot, supervisor_actor boss) mutable {
      each.slot = slot;
      each.supervisor = std::move(boss);
      auto x = sys.spawn(inference, each);
      std::lock_guard guard{mutex_};
      slots_.push_back(x);
      return x;
    };
    aut = sys.spawn(supervisor, settings,
                    std::function<inference_actor(uint32_t, supervisor_actor)>{make});
  }

  std::optional<error> fatal() {
    std::lock_guard guard{mutex_};
    return fatal_;
  }

  json status() {
    json x;
    self->request(aut, patience, atom::status{})
      .receive([&](const supervisor_status& s) { x = workers_json(s); },
               [](const caf::error&) { ADD_FAILURE() << "the supervisor does not answer"; });
    for (const auto& w : x["workers"])
      if (w["pid"] != 0)
        seen.insert(w["pid"].get<int32_t>());
    if (x["fork_server"]["pid"] != 0)
      seen.insert(x["fork_server"]["pid"].get<int32_t>());
    return x;
  }

  /// The worker in this state, or null.
  static json in_state(const json& x, const std::string& state) {
    for (const auto& w : x["workers"])
      if (w["state"] == state)
        return w;
    return {};
  }

  /// Waits for a worker that serves with this generation, and a standby.
  json healed(uint64_t generation) {
    json x;
    EXPECT_TRUE(wait_until([&] {
      x = status();
      const auto serving = in_state(x, "serving");
      return !serving.is_null() && serving["generation"] == generation
             && !in_state(x, "standby").is_null();
    }))
      << x << describe_process(x["fork_server"]["pid"]);
    return x;
  }

  attempt_outcome run(const std::string& fault = "", std::string image = digit_image(5)) {
    auto job = std::make_shared<messaging::job>();
    job->id = "job";
    job->image = std::make_shared<const std::string>(std::move(image));
    job->fault = fault;
    attempt_outcome outcome;
    // A slot that is held for a moment takes no job; a dispatcher would wait for it.
    EXPECT_TRUE(wait_until([&] {
      self->request(slot(), 2 * patience, attempt_request{{{job}}, patience})
        .receive([&](const attempt_outcome& x) { outcome = x; },
                 [](const caf::error&) { ADD_FAILURE() << "the slot does not answer"; });
      return !outcome.failure || outcome.failure->code != errc::unavailable;
    }));
    return outcome;
  }

  void expect_five() {
    const auto x = run();
    ASSERT_FALSE(x.failure) << x.failure->describe();
    ASSERT_TRUE(x.answer);
    ASSERT_TRUE(x.answer->answers.at(0).error_code.empty())
      << x.answer->answers.at(0).error_message;
    EXPECT_EQ(x.answer->answers.at(0).top_k.at(0).label, "五");
  }

  inference_actor slot() {
    std::lock_guard guard{mutex_};
    return slots_.at(0);
  }

  bool drain(uint64_t limit_ms) {
    auto answer = false;
    self->request(aut, patience, atom::drain{}, limit_ms)
      .receive([&](bool x) { answer = x; }, [](const caf::error&) {});
    drained_ = true;
    return answer;
  }

  size_t replacements() { return status()["replacements"].get<size_t>(); }

  /// What is at `name` in /proc of a process, with spaces between its parts.
  static std::string proc(int32_t pid, const char* name) {
    auto text = read_file("/proc/" + std::to_string(pid) + "/" + name).value_or("");
    std::replace(text.begin(), text.end(), '\0', ' ');
    return text;
  }

  log_book log; ///< Outlives all threads: they hold on to the logger.
  std::shared_ptr<metrics> stats = std::make_shared<metrics>();
  std::shared_ptr<reporter> report = std::make_shared<reporter>(system_environment(), "test",
                                                                "ziyu.events", stats);
  system_config cfg;
  caf::actor_system sys{cfg};
  caf::scoped_actor self{sys};
  supervisor_settings settings;
  supervisor_actor aut;
  std::set<int32_t> seen; ///< All pids so far.

private:
  dispatcher_actor dispatcher_ = sys.spawn(idle_dispatcher);
  std::mutex mutex_;
  std::vector<inference_actor> slots_;
  std::optional<error> fatal_;
  bool drained_ = false;
};

} // namespace

TEST(ProcessHostAtItsStart, SaysHowTheMemoryOfProcessesIsReadWhereTheKernelRefusesIt) {
  system_config config;
  caf::actor_system system{config};
  const temp_dir proc;
  const auto own = proc.path() / std::to_string(::getpid());
  std::filesystem::create_directory(own);
  process_host_settings settings;
  settings.proc = proc.path();
  const auto said = [&] {
    const log_book log;
    const process_host host{system, settings};
    return log.text();
  };
  EXPECT_NE(said().find("the memory of processes cannot be read"), std::string::npos);
  ASSERT_TRUE(write_file(own / "statm", "5000 900 300 10 0 600 0\n"));
  EXPECT_NE(said().find("smaps_rollup is refused: private memory is read from statm"),
            std::string::npos);
  ASSERT_TRUE(write_file(own / "smaps", "Rss: 100 kB\nPss: 50 kB\nPrivate_Dirty: 40 kB\n"));
  EXPECT_NE(said().find("private memory is read from smaps\n"), std::string::npos);
  ASSERT_TRUE(write_file(own / "smaps_rollup", "Rss: 100 kB\nPss: 50 kB\nPrivate_Dirty: 40 kB\n"));
  EXPECT_EQ(said().find("memory"), std::string::npos);
}

TEST_F(ProcessHost, HealsAKilledWorkerAndAKilledForkServer) {
  start();
  auto x = healed(1);
  expect_five();
  // The worker dies while idle.
  ::kill(in_state(x, "serving")["pid"].get<int32_t>(), SIGKILL);
  x = healed(2);
  expect_five();
  // The fork server dies; its workers do not.
  const auto old_server = x["fork_server"]["pid"].get<int32_t>();
  const auto worker = in_state(x, "serving")["pid"].get<int32_t>();
  ::kill(old_server, SIGKILL);
  expect_five();
  ASSERT_TRUE(wait_until([&] {
    x = status();
    return x["fork_server"]["ready"] == true && x["fork_server"]["pid"] != old_server;
  }))
    << x;
  EXPECT_EQ(in_state(x, "serving")["pid"], worker);
  EXPECT_TRUE(gone(old_server));
  // An orphan of the old server dies, and a child of the new one comes after it.
  ::kill(worker, SIGKILL);
  healed(3);
  EXPECT_TRUE(wait_until([&] { return gone(worker); })) << "nobody reaped the orphan";
  expect_five();
  EXPECT_TRUE(drain(5'000));
  for (auto pid : seen)
    EXPECT_TRUE(wait_until([pid] { return gone(pid); })) << pid;
}

namespace {

/// With a fork server whose workers break the protocol in one way.
class HostileWorker : public ProcessHost,
                      public ::testing::WithParamInterface<std::pair<const char*, const char*>> {};

} // namespace

TEST_P(HostileWorker, IsKilledAndTheReasonIsTold) {
  const auto& [way, reason] = GetParam();
  auto& killed = stats->deaths.Add({{"how", "bad_frame"}});
  start(std::filesystem::path{"/hostile"} / way / "1", "hostile_worker");
  EXPECT_TRUE(wait_until([&] { return killed.Value() > 0; })) << log.text();
  EXPECT_NE(log.text().find("worker_killed: bad_frame: "), std::string::npos) << log.text();
  EXPECT_NE(log.text().find(reason), std::string::npos) << log.text();
}

INSTANTIATE_TEST_SUITE_P(Ways, HostileWorker,
                         ::testing::Values(std::pair{"unasked_trimmed", "answers no question"},
                                           std::pair{"unasked_profiled", "answers no question"},
                                           std::pair{"unasked_result", "answers no question"},
                                           std::pair{"ready_twice", "said twice"},
                                           std::pair{"server_words", "does not take"},
                                           std::pair{"huge_result", "are allowed"},
                                           std::pair{"huge_dump", "are allowed"},
                                           std::pair{"half_a_frame", "the rest of a frame"}),
                         [](const auto& x) { return std::string{x.param.first}; });

TEST_F(ProcessHost, GivesWorkersNothingOfOurEnvironmentButWhatIsListed) {
  ::setenv("ZIYU_SASL_PASSWORD", "secret", 1);
  ::setenv("ATEN_CPU_CAPABILITY", "default", 1);
  start("/hostile/honest/1", "hostile_worker");
  const auto x = healed(1);
  ::unsetenv("ZIYU_SASL_PASSWORD");
  ::unsetenv("ATEN_CPU_CAPABILITY");
  for (const int32_t pid :
       {x["fork_server"]["pid"].get<int32_t>(), in_state(x, "serving")["pid"].get<int32_t>(),
        in_state(x, "standby")["pid"].get<int32_t>()}) {
    const auto environment = proc(pid, "environ");
    EXPECT_EQ(environment.find("secret"), std::string::npos) << environment;
    EXPECT_EQ(environment.find("PATH="), std::string::npos) << environment;
    EXPECT_NE(environment.find("ATEN_CPU_CAPABILITY=default"), std::string::npos) << environment;
    const auto stdin_of = std::filesystem::read_symlink("/proc/" + std::to_string(pid) + "/fd/0");
    EXPECT_EQ(stdin_of, "/dev/null");
  }
}

TEST_F(ProcessHost, LogsWhatAWorkerWritesAsWhatItIs) {
  start("/hostile/honest/1", "hostile_worker");
  const auto x = healed(1);
  const auto pid = std::to_string(in_state(x, "serving")["pid"].get<int32_t>());
  const auto line = "worker wrote: libfoo warning: 金毛犬 has a \"bad\" profile slot=0 "
                    "generation=1 process=worker pid="
                    + pid;
  EXPECT_TRUE(wait_until([&] { return log.text().find(line) != std::string::npos; })) << log.text();
}

TEST_F(ProcessHost, BoundsWhatAWorkerThatWritesWithoutEndPutsIntoTheLog) {
  start("/hostile/chatty/1", "hostile_worker");
  healed(1);
  expect_five();
  EXPECT_TRUE(wait_until([&] { return stats->output_dropped.Value() > 0; })) << log.text();
  const auto text = log.text();
  size_t lines = 0;
  for (auto i = text.find("libfoo"); i != std::string::npos; i = text.find("libfoo", i + 1))
    ++lines;
  EXPECT_GE(lines, 1u);
  EXPECT_LT(lines, 1'000u) << "of 2000";
}

TEST_F(ProcessHost, AnswersTheJobOfAWorkerThatCrashes) {
  start();
  healed(1);
  const auto outcome = run("crash");
  ASSERT_TRUE(outcome.failure);
  EXPECT_EQ(outcome.failure->code, errc::worker_died);
  healed(2);
  expect_five();
}

TEST_F(ProcessHost, ReplacesALeakingWorkerBeforeItsBudget) {
  constexpr uint64_t budget = uint64_t{160} << 20;
  settings.healing.budget_bytes = settings.judge.budget_bytes = budget;
  settings.slot_faults[0] = "retain_tensors:6MiB";
  start();
  healed(1);
  uint64_t peak = 0;
  for (auto i = 0; i < 200 && replacements() == 0; ++i) {
    const auto outcome = run();
    ASSERT_FALSE(outcome.failure) << outcome.failure->describe();
    peak = std::max(peak, outcome.private_bytes);
  }
  EXPECT_GE(replacements(), 1u);
  EXPECT_LT(peak, budget);
  EXPECT_GT(peak, budget / 4);
  expect_five();
}

TEST_F(ProcessHost, ASlowJobWithALargeImageIsNotHeldAgainstItsWorker) {
  settings.probe_interval = 20ms;
  start();
  const auto worker = in_state(healed(1), "serving")["pid"];
  // A BMP of 42 megapixels, one bit each: 5 MB as it comes, 126 MB decoded, which the worker still
  // has while it is slow, many probes long.
  const auto image = bitmap_of_one_bit(8000, 5250);
  for (auto i = 0; i < 2; ++i) {
    expect_five();
    const auto outcome = run("slow:700", image);
    ASSERT_FALSE(outcome.failure) << outcome.failure->describe();
    EXPECT_EQ(outcome.answer->answers.at(0).error_code, "")
      << outcome.answer->answers.at(0).error_message;
  }
  const auto serving = in_state(status(), "serving");
  EXPECT_EQ(serving["pid"], worker);
  EXPECT_GT(serving["peak_private_bytes"].get<uint64_t>(), uint64_t{100} << 20)
    << "the probes saw it";
  EXPECT_LT(serving["private_bytes"].get<uint64_t>(), uint64_t{100} << 20) << "given back";
  EXPECT_EQ(replacements(), 0u);
}

TEST_F(ProcessHost, PagesThatBecomeAWorkersOwnAreNotItsGrowth) {
  settings.probe_interval = 5ms;
  start();
  auto x = healed(1);
  const auto before = in_state(x, "serving");
  const auto own = before["private_bytes"].get<uint64_t>();
  // Only this worker has the model's pages, until the next fork server has loaded the model.
  const auto old_server = x["fork_server"]["pid"].get<int32_t>();
  ::kill(old_server, SIGKILL);
  ::kill(in_state(x, "standby")["pid"].get<int32_t>(), SIGKILL);
  uint64_t most = 0, by_the_kernel = 0;
  ASSERT_TRUE(wait_until([&] {
    x = status();
    const auto now = in_state(x, "serving");
    most = std::max(most, now["private_bytes"].get<uint64_t>());
    if (const auto pages = supervision::read_process_memory(now["pid"].get<int32_t>()))
      by_the_kernel = std::max(by_the_kernel, pages->private_bytes);
    return x["fork_server"]["ready"] == true && x["fork_server"]["pid"] != old_server;
  }))
    << x;
  EXPECT_EQ(in_state(x, "serving")["pid"], before["pid"]);
  EXPECT_GT(by_the_kernel, own + (uint64_t{16} << 20)) << "they did become its own";
  EXPECT_LT(most, own + (uint64_t{8} << 20));
  expect_five();
}

TEST_F(ProcessHost, EndsAWorkerThatHangsAtTheDeadlineOfTheDrain) {
  start();
  healed(1);
  auto job = std::make_shared<messaging::job>();
  job->image = std::make_shared<const std::string>(digit_image(5));
  job->fault = "hang";
  self->send(slot(), attempt_request{{{job}}, patience});
  EXPECT_TRUE(drain(1'000));
  for (auto pid : seen)
    EXPECT_TRUE(wait_until([pid] { return gone(pid); })) << pid;
}

TEST_F(ProcessHost, SaysWhyAModelCannotBeLoaded) {
  start("/nowhere/digits/1");
  ASSERT_TRUE(wait_until([&] { return fatal().has_value(); }));
  EXPECT_EQ(fatal()->code, errc::model_missing);
}

TEST_F(ProcessHost, SaysThatAWorkerProgramIsMissing) {
  process_host_settings wrong;
  wrong.executable = "/nowhere/ziyu-worker";
  process_host host{sys, std::move(wrong)};
  auto pid = host.start_server(1, digits_model.string(), caf::actor_cast<caf::actor>(self));
  if (pid) { // exec fails in the child: seen by its end
    EXPECT_TRUE(wait_until([&] { return !host.server_running(1); }));
  }
  EXPECT_FALSE(host.server_running(1));
}

} // namespace ziyu::actors
