// `ziyu demo` as a newcomer runs it, and when it is interrupted.

#include "base/file.hpp"
#include "e2e/support/processes.hpp"
#include "e2e/support/service.hpp"
#include "messaging/broker/guarded_process.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <functional>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using testing::HasSubstr;
using namespace std::chrono_literals;

namespace {

/// A demo that runs beside the test.
class running_demo {
public:
  explicit running_demo(std::vector<std::string> more) {
    std::vector<std::string> command{ziyu_program(), "demo", "--chart",
                                     (folder_.path() / "memory.svg").string()};
    command.insert(command.end(), more.begin(), more.end());
    log_ = folder_.path() / "log";
    guard_ = must(broker::guarded_process::start(command, log_));
    if (!eventually([this] { return !descendants(guard_.pid()).empty() || !guard_.running(); }))
      throw std::runtime_error("the demo did not start");
  }

  std::string log() const { return read_file(log_).value_or(""); }
  /// The demo itself and all processes that it started.
  std::vector<process_info> processes() const { return descendants(guard_.pid()); }
  /// Ctrl-C.
  void interrupt() {
    for (const auto& x : processes())
      if (x.parent == guard_.pid())
        ::kill(x.pid, SIGINT);
  }
  std::optional<supervision::exit_status> wait(std::chrono::milliseconds limit) {
    return guard_.wait(limit);
  }

private:
  temp_dir folder_{"ziyu-demo-test"};
  std::filesystem::path log_;
  broker::guarded_process guard_;
};

/// Interrupts a demo at a moment: it ends with all processes that it started.
void expect_clean_interrupt(const std::function<bool(const running_demo&)>& moment,
                            std::vector<std::string> options = {}) {
  options.insert(options.end(), {"--jobs", "5000", "--no-comparison"});
  running_demo demo{std::move(options)};
  ASSERT_TRUE(eventually([&] { return moment(demo); }, 120s)) << demo.log();
  const auto before = demo.processes();
  ASSERT_FALSE(before.empty()) << demo.log();
  demo.interrupt();
  const auto how = demo.wait(60s);
  ASSERT_TRUE(how) << demo.log();
  EXPECT_EQ(how->exit_code, 130) << how->describe() << "\n" << demo.log();
  for (const auto& x : before)
    EXPECT_TRUE(eventually([&] { return !is_running(x.pid); }, 20s)) << to_string({x});
}

/// The moment when the demo has said this.
auto says(const std::string& words) {
  return [=](const running_demo& x) { return x.log().find(words) != std::string::npos; };
}

/// The moment when a process with this in its command line runs.
auto runs(const std::string& words) {
  return [=](const running_demo& x) {
    const auto all = x.processes();
    return std::any_of(all.begin(), all.end(), [&](const process_info& p) {
      return p.command.find(words) != std::string::npos;
    });
  };
}

} // namespace

// Enough jobs for the leaking slot to reach its budget, also where fresh memory is so slow that
// the other slot does nearly all of them.
TEST(Demo, ShowsAHealedLeakAndReportsThatNothingWasLost) {
  temp_dir folder;
  const auto report_file = folder.path() / "r.json", chart = folder.path() / "memory.svg";
  const auto ran = run_program({ziyu_program(), "demo", "--jobs", "1000", "--leak",
                                "retain_tensors:6MiB", "--report", report_file.string(), "--chart",
                                chart.string()},
                               200s);
  ASSERT_EQ(ran.exit_code, 0) << ran.err << ran.out;
  const auto report = json::parse(must(read_file(report_file)));
  EXPECT_EQ(report.at("submitted"), 1000);
  EXPECT_EQ(report.at("results"), 1000);
  EXPECT_EQ(report.at("dead_lettered"), 0);
  EXPECT_EQ(report.at("lost"), 0);
  EXPECT_EQ(report.at("duplicates"), 0);
  EXPECT_GE(report.at("accuracy").get<double>(), 0.97);
  const auto budget = uint64_t{128} << 20, job = uint64_t{6} << 20;
  EXPECT_GT(report.at("peak_private_bytes").get<uint64_t>(), 0u);
  EXPECT_LT(report.at("peak_private_bytes").get<uint64_t>(), budget + job);
  ASSERT_GE(report.at("replacements").size(), 1u) << report;
  for (const auto& x : report.at("replacements")) {
    EXPECT_EQ(x.at("slot"), 0) << x;
    EXPECT_GE(x.at("generation").get<int>(), 1);
    EXPECT_FALSE(x.at("cause").get<std::string>().empty());
    EXPECT_GT(x.at("bytes_recovered").get<uint64_t>(), job);
    EXPECT_GT(x.at("ms").get<double>(), 0);
  }
  // The same leak without healing, for as many jobs of this slot, or until it fills a gibibyte.
  const auto& alone = report.at("without_healing");
  const auto done = alone.at("leaking_slot_results").get<uint64_t>();
  const auto peak = alone.at("peak_private_bytes").get<uint64_t>();
  EXPECT_GE(peak + 2 * job, done * job);
  if (alone.at("at_limit").get<bool>())
    EXPECT_GE(peak, uint64_t{1} << 30);
  else
    EXPECT_GE(done, report.at("leaking_slot").at("results").get<uint64_t>());
  EXPECT_GT(peak, report.at("peak_private_bytes").get<uint64_t>());
  EXPECT_THAT(must(read_file(chart)), HasSubstr("<svg"));
  for (const auto words : {"submitted", "lost", "replacements", "duplicates"})
    EXPECT_THAT(ran.out, HasSubstr(words));
}

TEST(Demo, AnInterruptBeforeKafkaLeavesNothing) {
  expect_clean_interrupt(says("Starting a real Kafka broker"));
}

TEST(Demo, AnInterruptWhileKafkaStartsLeavesNothing) { expect_clean_interrupt(runs("/java -X")); }

TEST(Demo, AnInterruptWhileTheServiceStartsLeavesNothing) {
  expect_clean_interrupt(says("Starting the service"));
}

TEST(Demo, AnInterruptWhileTheModelLoadsLeavesNothing) {
  expect_clean_interrupt(runs("ziyu-worker --fork-server"));
}

TEST(Demo, AnInterruptUnderLoadLeavesNothing) { expect_clean_interrupt(says("answered")); }

TEST(Demo, AnInterruptWhileAWorkerHangsLeavesNothing) {
  expect_clean_interrupt(says("answered"), {"--leak", "hang"});
}

TEST(Demo, AnUnknownFaultIsWrongUsageAndNamesTheKnownOnes) {
  const auto ran = run_program({ziyu_program(), "demo", "--leak", "explode"});
  EXPECT_EQ(ran.exit_code, 2) << ran.err;
  for (const auto known : {"explode", "retain_tensors", "retain_images", "reload_model",
                           "native_malloc", "crash", "hang", "slow"})
    EXPECT_THAT(ran.err, HasSubstr(known));
}
