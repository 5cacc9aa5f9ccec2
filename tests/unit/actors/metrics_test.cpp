#include "actors/metrics.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "configs/schema.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace ziyu::actors {

namespace {

using testing::HasSubstr;
using testing::Not;

class Metrics : public ::testing::Test {
protected:
  std::string text() {
    stats.read_process();
    return stats.text();
  }

  metrics stats;
};

} // namespace

TEST_F(Metrics, BearsEachSeriesThatIsKnownBeforehandAtZero) {
  const auto all = text();
  for (const auto* code : {"undecodable_image", "empty_image", "worker_died", "max_attempts",
                           "result_too_large", "inference_failed"})
    EXPECT_THAT(all, HasSubstr("ziyu_dead_letters_total{code=\"" + std::string{code} + "\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_results_total{status=\"ok\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_failed_attempts_total{code=\"deadline_exceeded\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_worker_replacements_total{cause=\"retained_tensors\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_worker_replacements_total{cause=\"crash\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_worker_deaths_total{how=\"signal 9 (SIGKILL)\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_breaker_transitions_total{to=\"half_open\"} 0\n"));
  EXPECT_THAT(all, HasSubstr("ziyu_breaker_openings_total{cause=\"restart_intensity\"} 0\n"));
  EXPECT_GE(configs::event_types().size(), 30u);
  for (const auto& type : configs::event_types())
    EXPECT_THAT(all, HasSubstr("ziyu_events_total{type=\"" + type + "\"} 0\n"));
}

TEST_F(Metrics, HasALagPerPartitionThatGoesWithIt) {
  stats.set_lag({{{"image.jobs", 0}, 7}, {{"image.jobs", 1}, 0}});
  EXPECT_THAT(text(),
              HasSubstr("ziyu_consumer_lag_records{partition=\"0\",topic=\"image.jobs\"} 7\n"));
  stats.set_lag({{{"image.jobs", 1}, 3}});
  EXPECT_THAT(text(), Not(HasSubstr("partition=\"0\"")));
  EXPECT_THAT(text(),
              HasSubstr("ziyu_consumer_lag_records{partition=\"1\",topic=\"image.jobs\"} 3\n"));
}

TEST_F(Metrics, SaysWhichModelServesAndNoOther) {
  stats.serve_model({"digits", "1", "abc", "fp32"});
  stats.serve_model({"digits", "2", "def", "fp32"});
  stats.serve_model({"digits", "2", "def", "fp32"});
  const auto all = text();
  EXPECT_THAT(all, HasSubstr("version=\"2\"} 1\n"));
  EXPECT_THAT(all, Not(HasSubstr("sha256=\"abc\"")));
  EXPECT_THAT(all, HasSubstr("ziyu_build_info{version=\""));
}

TEST_F(Metrics, ForecastsPerSlotAndSaysWhenThereIsNone) {
  stats.begin_slots(2);
  stats.set_jobs_left(1, 9);
  EXPECT_THAT(text(), HasSubstr("ziyu_worker_jobs_left{slot=\"0\"} +Inf\n"));
  EXPECT_THAT(text(), HasSubstr("ziyu_worker_jobs_left{slot=\"1\"} 9\n"));
  EXPECT_THAT(text(), HasSubstr("ziyu_worker_generation{slot=\"0\"} 0\n"));
}

TEST_F(Metrics, TellsWhatTheKernelSaysOfTheProcess) {
  text();
  const auto cpu = stats.process_cpu.Value();
  text();
  EXPECT_GE(stats.process_cpu.Value(), cpu);
  EXPECT_GT(stats.process_start.Value(), 1'700'000'000) << "later than 2023";
  EXPECT_GT(stats.process_resident.Value(), 1e6);
  EXPECT_GE(stats.process_fds.Value(), 3);
  EXPECT_GE(stats.process_max_fds.Value(), stats.process_fds.Value());
}

TEST_F(Metrics, BeginsWithEachCauseOfWhichAWorkerIsReplacedOrDies) {
  const auto all = text();
  for (const auto* cause : {"hard_limit", "oom_killed", "crash", "hang", "budget", "hoarding"})
    EXPECT_THAT(
      all, HasSubstr("ziyu_worker_replacements_total{cause=\"" + std::string{cause} + "\"} 0\n"));
  for (const auto* how : {"hard_limit", "oom_killed", "deadline_exceeded", "signal 9 (SIGKILL)"})
    EXPECT_THAT(all, HasSubstr("ziyu_worker_deaths_total{how=\"" + std::string{how} + "\"} 0\n"));
}

TEST_F(Metrics, PassesTheCheckOfPrometheus) {
  stats.begin_slots(2);
  stats.set_lag({{{"image.jobs", 0}, 7}});
  stats.serve_model({"数字", "1", "abc", "fp32"});
  stats.total_seconds.Observe(.2);
  const temp_dir dir;
  const auto file = dir.path() / "metrics";
  ASSERT_TRUE(write_file(file, text()));
  EXPECT_EQ(std::system(("promtool check metrics <" + file.string()).c_str()), 0);
}

} // namespace ziyu::actors
