// How an instance leaves its group and ends: one stage after the other, each with its own time.

#include "actors/stop_program.hpp"

#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/progress_source.hpp"

#include <gmock/gmock.h>

namespace ziyu::actors {

namespace {

using namespace ziyu::test;
using testing::ElementsAre;

/// Commits and closes when the test says so.
class fake_source : public progress_source {
public:
  fake_source()
    : progress_source([](const messaging::topic_partition&,
                         const messaging::commit_point&) -> expected<void> { return {}; }) {}
  void commit(std::chrono::milliseconds limit, std::function<void(expected<void>)> done) override {
    commits.push_back(limit);
    committed = std::move(done);
  }
  void close(std::chrono::milliseconds limit, std::function<void(bool)> done) override {
    closes.push_back(limit);
    closed = std::move(done);
    if (closes_at_once)
      closed(true);
  }

  std::vector<std::chrono::milliseconds> commits, closes;
  std::function<void(expected<void>)> committed;
  std::function<void(bool)> closed;
  bool closes_at_once = true;
};

class StopProgram : public actor_fixture {
protected:
  StopProgram() {
    settings.stages = stages_out_of_group({.gate_ms = 1'000,
                                           .drain_ms = 2'000,
                                           .flush_ms = 3'000,
                                           .commit_ms = 4'000,
                                           .close_ms = 5'000});
    settings.credit = credit;
    settings.dispatcher = spawn(fake_dispatcher, log);
    settings.publisher = spawn(fake_publisher, publications);
    settings.source = source;
    settings.env = &env;
    settings.on_end = [this](events::stop_stages x) { report = std::move(x); };
  }

  std::vector<std::string> names() const {
    std::vector<std::string> xs;
    for (const auto& x : report.value_or(events::stop_stages{}).stages)
      xs.push_back(x.name);
    return xs;
  }

  std::shared_ptr<dispatcher_log> log = std::make_shared<dispatcher_log>();
  std::shared_ptr<std::vector<publication>> publications =
    std::make_shared<std::vector<publication>>();
  std::shared_ptr<intake> credit = std::make_shared<intake>(intake::limits{2, 1'000});
  std::shared_ptr<fake_source> source = std::make_shared<fake_source>();
  stop_program_settings settings;
  std::optional<events::stop_stages> report;
};

} // namespace

TEST_F(StopProgram, GoesOnWhenAStageHasAnsweredAndSaysWhatItTook) {
  spawn(stop_program, settings);
  run();
  EXPECT_FALSE(credit->open()) << "the gate is closed";
  EXPECT_THAT(source->commits, ElementsAre(4'000ms));
  EXPECT_TRUE(source->closes.empty()) << "the partitions are needed until the commit";
  advance(700ms);
  source->committed({});
  run();
  EXPECT_THAT(source->closes, ElementsAre(5'000ms));
  ASSERT_THAT(names(), ElementsAre("gate", "drain", "flush", "commit", "close"));
  for (const auto& x : report->stages)
    EXPECT_TRUE(x.done) << x.name;
  EXPECT_NEAR(report->stages[3].ms, 700, 20);
  EXPECT_EQ(report->stages[3].limit_ms, 4'000u);
}

TEST_F(StopProgram, AStageThatDoesNotAnswerHoldsUpNoOther) {
  spawn(stop_program, settings);
  advance(5'900ms);
  EXPECT_TRUE(source->closes.empty()) << "the answer may come two seconds late";
  advance(200ms);
  EXPECT_FALSE(source->closes.empty());
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->stages[3].done);
  EXPECT_TRUE(report->stages[4].done);
  source->committed({}); // to nobody
  run();
  EXPECT_EQ(report->stages.size(), 5u);
}

TEST_F(StopProgram, ALateAnswerIsNotTakenForThatOfTheNextStage) {
  source->closes_at_once = false;
  spawn(stop_program, settings);
  advance(6'100ms);
  ASSERT_TRUE(source->closed) << "the commit was given up";
  source->committed({});
  run();
  EXPECT_FALSE(report) << "the close has not answered";
  source->closed(false);
  run();
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->stages[4].done);
}

TEST_F(StopProgram, ADispatcherThatIsSilentIsPassed) {
  log->silent = true;
  spawn(stop_program, settings);
  advance(1'100ms);
  EXPECT_FALSE(source->commits.empty());
  source->committed({});
  run();
  ASSERT_TRUE(report);
  EXPECT_FALSE(report->stages[0].done);
}

TEST_F(StopProgram, WithoutAConsumerNothingIsCommittedOrClosed) {
  settings.source = nullptr;
  spawn(stop_program, settings);
  run();
  EXPECT_THAT(names(), ElementsAre("gate", "drain", "flush"));
}

} // namespace ziyu::actors
