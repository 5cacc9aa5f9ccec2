#include "cli/top/view.hpp"

#include "base/text.hpp"
#include "support/service_answers.hpp"

#include <gtest/gtest.h>

#include <algorithm>

using namespace ziyu;
using namespace ziyu::cli;
using namespace ziyu::test;
using nlohmann::json;

namespace {

class ServiceView : public ::testing::Test {
protected:
  ServiceView() {
    moment.url = "http://127.0.0.1:8080";
    moment.jobs_per_second = 50.53;
  }

  std::vector<std::string> lines(size_t columns = 80, size_t rows = 0, bool colours = false) {
    return draw_service(reading_from(health, workers, ledger_answer()), moment, columns, rows,
                        colours);
  }

  std::string text(size_t columns = 80, size_t rows = 0, bool colours = false) {
    std::string result;
    for (const auto& x : lines(columns, rows, colours))
      result += x + "\n";
    return result;
  }

  /// The line that begins with `start`.
  std::string line(const std::string& start, size_t columns = 80) {
    const auto all = lines(columns);
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const auto& x) { return x.starts_with(start); });
    return found == all.end() ? "" : *found;
  }

  json health = healthy_answer(), workers = workers_answer();
  top_moment moment;
};

} // namespace

TEST_F(ServiceView, HeadTellsThroughputPoolBreakerAndMemory) {
  EXPECT_EQ(line("Ziyu"), "Ziyu 自愈  http://127.0.0.1:8080");
  EXPECT_EQ(line("jobs"), "jobs     50.5/s  0 waiting  1 running  512 results  4 dead letters");
  EXPECT_EQ(line("pool"), "pool     healthy  2 of 2 slots up  1 standby warm  3 replaced");
  EXPECT_EQ(line("breaker"), "breaker  closed");
  EXPECT_EQ(line("memory"), "memory   █████████"
                            "░░░░░░░░░░░░░░░░░░░░░"
                            " 31.2 % of 1.0 GiB (cgroup2)");
}

TEST_F(ServiceView, TellsModelAndUptimeWhereTheServiceDoes) {
  health["model"] = {{"name", "digits"}, {"version", "1"}};
  health["uptime_s"] = 11'520;
  EXPECT_EQ(line("Ziyu"), "Ziyu 自愈  http://127.0.0.1:8080  model digits 1  up 3 h 12 min");
}

TEST_F(ServiceView, SaysWhyTheBreakerIsOpen) {
  health["breaker"] = "open";
  health["breaker_reason"] = "memory at 83 %";
  EXPECT_EQ(line("breaker"), "breaker  open: memory at 83 %");
}

TEST_F(ServiceView, HasALineForKafkaThatSaysHowFarBehindOrWhyNothingComes) {
  EXPECT_EQ(line("kafka"), "kafka    consuming  7 records behind  oldest job in hand 0.4 s");
  health["lag_records"] = nullptr;
  EXPECT_EQ(line("kafka"), "kafka    consuming  lag not known  oldest job in hand 0.4 s");
  health["consuming"] = false;
  health["kafka"] = "no broker answers";
  EXPECT_EQ(line("kafka"), "kafka    not consuming: no broker answers");
}

TEST_F(ServiceView, SaysWhyTheServiceIsDegradedWhereNoOtherLineDoes) {
  health["status"] = "degraded";
  health["reasons"] = {"kafka: no broker answers", "too many workers died recently"};
  EXPECT_EQ(line("because"), "because  too many workers died recently");
  EXPECT_TRUE(line("pool").starts_with("pool     degraded "));
}

TEST_F(ServiceView, HasNoRateAfterTheFirstReading) {
  moment.jobs_per_second.reset();
  EXPECT_EQ(line("jobs"), "jobs     0 waiting  1 running  512 results  4 dead letters");
}

TEST_F(ServiceView, TellsAWorkerThatIsHeldAtItsBudget) {
  for (auto& w : workers["workers"])
    w["held"] = w["pid"] == 4711;
  EXPECT_EQ(line("0.3 ").substr(0, 36), "0.3        4711 held         11  +6.");
  EXPECT_EQ(line("1.1 ").substr(0, 24), "1.1        4710 serving ");
}

TEST_F(ServiceView, ShowsAWorkerInTwoLinesWhereThereIsNoRoomForOne) {
  EXPECT_EQ(line("0.3 "),
            "0.3        4711 serving      11  +6.0 MiB 128.7 MiB  68.8 MiB ███░░░ leak");
  EXPECT_EQ(line("1.1 "),
            "1.1        4710 serving     480       0 B  62.7 MiB   2.8 MiB ░░░░░░ healthy");
  const auto more = line("       +6.0 MiB/job");
  EXPECT_TRUE(more.starts_with("       +6.0 MiB/job +5.8 MiB…+6.1 MiB    9 jobs left (≥8)    ▁▁▂"))
    << more;
}

TEST_F(ServiceView, ShowsAWorkerInOneLineOnAWideTerminal) {
  const auto all = line("0.3 ", 160);
  for (const auto* part : {" 4711 serving ", "+6.0 MiB/job +5.8 MiB…+6.1 MiB", "9 jobs left (≥8)",
                           "leak       ▁", "▅"})
    EXPECT_NE(all.find(part), all.npos) << part << " in " << all;
  EXPECT_EQ(line("       +6.0", 160), "");
}

TEST_F(ServiceView, LeavesOutSecondLinesWhereTheyDoNotFit) {
  const auto full = lines().size();
  EXPECT_EQ(lines(80, full).size(), full);
  EXPECT_EQ(lines(80, full - 1).size(), full - 2) << "one less for each slot";
  EXPECT_NE(text(80, full - 1).find("fork server"), std::string::npos);
  EXPECT_EQ(lines(80, 3).size(), 3u);
}

TEST_F(ServiceView, ListsSlotsInTheirOrderAndStandbysBelow) {
  const auto all = text();
  EXPECT_LT(all.find("\n0.3 "), all.find("\n1.1 "));
  EXPECT_LT(all.find("\n1.1 "), all.find("\n-          4712 standby "));
}

TEST_F(ServiceView, ShowsTheOtherProcesses) {
  EXPECT_EQ(line("fork server"), "fork server   2952                ready");
  workers["processes"] = {
    {{"name", "control"}, {"pid", 2944}, {"private_bytes", 12'300'000}, {"verdict", "healthy"}},
    {{"name", "fork_server"},
     {"pid", 2952},
     {"private_bytes", 80'000'000},
     {"verdict", "suspected"}}};
  EXPECT_EQ(line("control"), "control       2944      11.7 MiB  healthy");
  EXPECT_EQ(line("fork server"), "fork server   2952      76.3 MiB  suspected");
}

TEST_F(ServiceView, TakesTheSlopeOfPrivateMemoryWhereOnlyThatGrows) {
  workers["workers"][2]["verdict"] = "hoarding";
  EXPECT_NE(line("       +6.0 MiB/job  "), "") << text();
}

TEST_F(ServiceView, SaysThatTheServiceIsGoneAboveWhatWasSeenLast) {
  moment.trouble = "http://127.0.0.1:8080 does not answer";
  const auto all = lines();
  EXPECT_EQ(all[1], moment.trouble);
  EXPECT_NE(line("0.3 "), "");
}

TEST_F(ServiceView, HasNoLineWiderThanItsColumns) {
  health["breaker_reason"] = std::string(300, 'x');
  workers["workers"][0]["verdict"] = std::string(300, 'y');
  workers["workers"][2]["last_delta_bytes"] = 900'000'000'000'000;
  for (const auto columns : {1u, 20u, 60u, 80u, 100u, 149u, 150u, 220u})
    for (const auto& x : lines(columns))
      EXPECT_LE(display_width(x), columns) << x;
}

TEST_F(ServiceView, ColoursOnlyWhereThatIsWanted) {
  EXPECT_EQ(text().find('\x1b'), std::string::npos);
  EXPECT_NE(text(80, 0, true).find('\x1b'), std::string::npos);
  health["status"] = "\x1b[2J";
  EXPECT_EQ(text().find('\x1b'), std::string::npos);
}

TEST_F(ServiceView, BearsThatAnythingIsMissingOrOfAnotherType) {
  for (const auto& other : {json{}, json{"text"}, json{-1e300}, json::array({1, "x"}),
                            json::object({{"workers", 5}})}) {
    EXPECT_FALSE(draw_service(reading_from(other, other, other), moment, 80, 0, false).empty());
    const auto whole = workers_answer(); // outlives the loop over its parts
    for (const auto& [key, value] : whole["workers"][2].items()) {
      workers = workers_answer();
      workers["workers"][2][key] = other;
      EXPECT_FALSE(lines().empty()) << key;
    }
  }
}

TEST(Uptime, IsToldInTheTwoLargestUnits) {
  EXPECT_EQ(format_uptime(5.9), "5 s");
  EXPECT_EQ(format_uptime(725), "12 min 5 s");
  EXPECT_EQ(format_uptime(15'120), "4 h 12 min");
  EXPECT_EQ(format_uptime(273'600), "3 d 4 h");
  EXPECT_EQ(format_uptime(-1), "0 s");
}
