#include "cli/check/checks.hpp"

#include "base/file.hpp"
#include "cli/command.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::cli;

namespace {

configs::config some_config() {
  return configs::parse(R"({
    "kafka": {"bootstrap.servers": "x:1", "group.id": "g"},
    "model": {"path": "m"},
    "workers": {"slots": 2, "standbys": 1},
    "memory": {"worker_budget_bytes": "100MB", "worker_hard_limit_bytes": "200MB"}})",
                        "/")
    .value()
    .values;
}

supervision::container_memory container_of(uint64_t limit) {
  supervision::container_memory x;
  x.limit = limit;
  x.source = "test";
  return x;
}

} // namespace

TEST(CheckTopics, FindsMissingOnesAndSaysHowToMakeThem) {
  const auto config = some_config();
  messaging::cluster_metadata cluster;
  cluster.topics = {{config.topics.jobs, 8}, {config.topics.results, 1}, {config.topics.events, 0}};
  const auto findings = check_topics(config, cluster);
  ASSERT_EQ(findings.size(), 4u);
  EXPECT_EQ(findings[0].what, "topic image.jobs");
  EXPECT_EQ(findings[0].how, verdict::ok);
  EXPECT_EQ(findings[0].detail, "8 partitions");
  EXPECT_EQ(findings[1].detail, "1 partition");
  for (const auto i : {2, 3}) { // absent; there but without partitions
    EXPECT_EQ(findings[static_cast<size_t>(i)].how, verdict::failed);
    EXPECT_NE(findings[static_cast<size_t>(i)].detail.find("ziyu topics create"),
              std::string::npos);
  }
  EXPECT_EQ(exit_code_of(findings), exit_failed);
}

TEST(CheckLimits, WarnsOfBudgetsThatDoNotFitAsTheServiceStartsWithThem) {
  const auto config = some_config();
  const auto fits = check_limits(config, container_of(1'000'000'000));
  EXPECT_EQ(fits.how, verdict::ok);
  EXPECT_EQ(fits.detail, "3 workers × 95.4 MiB budget = 286.1 MiB of 953.7 MiB (test)");
  EXPECT_EQ(check_limits(config, container_of(300'000'000)).how, verdict::warning);
  const auto warned = check_limits(config, container_of(299'999'999));
  EXPECT_EQ(warned.how, verdict::warning);
  EXPECT_NE(warned.detail.find("does not fit"), std::string::npos);
  EXPECT_NE(warned.detail.find("memory.worker_budget_bytes"), std::string::npos);
}

TEST(CheckLimits, WarnsWhereTheBreakerOpensFirst) {
  auto config = some_config();
  config.breaker.open_at = 0.5;
  EXPECT_EQ(check_limits(config, container_of(600'000'001)).how, verdict::ok);
  EXPECT_EQ(check_limits(config, container_of(599'999'999)).how, verdict::warning);
}

TEST(CheckModel, SaysWhenTheWorkerCannotBeRun) {
  auto config = some_config();
  config.workers.executable = "/nonexistent/ziyu-worker";
  const auto found = check_model(config);
  EXPECT_EQ(found.how, verdict::failed);
  EXPECT_NE(found.detail.find("/nonexistent/ziyu-worker"), std::string::npos);
}

TEST(CheckModel, ShowsWhatTheModelFolderWarnsOf) {
  const temp_dir dir;
  const auto program = dir.path() / "worker";
  const std::string answer = R"({"name": "猫", "version": "1", "precision": "fp32", "classes": 2,)"
                             R"( "sha256": "0123456789abcdef", "warnings": [WARNINGS]})";
  auto config = some_config();
  config.workers.executable = program;
  const auto check_with = [&](std::string_view warnings) {
    auto text = answer;
    text.replace(text.find("WARNINGS"), 8, warnings);
    EXPECT_TRUE(write_file(program, "#!/bin/sh\necho '" + text + "'\n"));
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    return check_model(config);
  };
  const auto fine = check_with("");
  EXPECT_EQ(fine.how, verdict::ok) << fine.detail;
  EXPECT_EQ(fine.detail, "猫 version 1, fp32, 2 classes, sha256 0123456789ab…");
  const auto odd = check_with(R"("1 label is a duplicate")");
  EXPECT_EQ(odd.how, verdict::warning) << odd.detail;
  EXPECT_EQ(odd.detail, fine.detail + "; 1 label is a duplicate");
}

TEST(ExitCodeOf, IsThatOfTheMostBasicFailure) {
  const finding ok{"a", verdict::ok, ""}, warning{"b", verdict::warning, "", 2},
    failed{"c", verdict::failed, "", exit_failed},
    usage{"d", verdict::failed, "", exit_wrong_usage},
    unavailable{"e", verdict::failed, "", exit_unavailable};
  EXPECT_EQ(exit_code_of({}), exit_ok);
  EXPECT_EQ(exit_code_of({ok, warning}), exit_ok);
  EXPECT_EQ(exit_code_of({failed, ok}), exit_failed);
  EXPECT_EQ(exit_code_of({failed, unavailable}), exit_unavailable);
  EXPECT_EQ(exit_code_of({unavailable, failed}), exit_unavailable);
  EXPECT_EQ(exit_code_of({unavailable, usage, failed}), exit_wrong_usage);
}
