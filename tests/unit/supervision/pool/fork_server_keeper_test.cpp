#include "supervision/pool/fork_server_keeper.hpp"

#include "base/log.hpp"

#include <gtest/gtest.h>

namespace ziyu::supervision {

namespace {

using namespace std::chrono_literals;

class ForkServerKeeper : public testing::Test {
protected:
  fork_server_keeper::orders start() {
    aut.start(++servers);
    return aut.started(static_cast<int32_t>(100 + aut.number()), now);
  }

  bool load(const std::string& sha256 = "aa") {
    wire::server_ready x;
    x.model_name = "digits";
    x.model_sha256 = sha256;
    return aut.ready(x, now);
  }

  void start_and_load() {
    start();
    load();
  }

  fork_server_keeper::orders die(const std::string& reason = "") {
    return aut.closed(false, reason, now, random);
  }

  static std::vector<std::string_view> types(const fork_server_keeper::orders& x) {
    std::vector<std::string_view> result;
    for (const auto& y : x.news)
      result.push_back(events::type_of(y));
    return result;
  }

  using types_are = std::vector<std::string_view>;

  fork_server_keeper::settings how{.restart_intensity = 3,
                                   .restart_period = 60s,
                                   .backoff_initial = 100ms,
                                   .backoff_max = 5s,
                                   .start_timeout = 60s};
  fork_server_keeper aut{how};
  fork_server_keeper::clock::time_point now{1h};
  uint64_t servers = 0;
  uint64_t random = 0; ///< The shortest pauses: half of the longest ones.
};

} // namespace

TEST_F(ForkServerKeeper, StartsAndLoads) {
  EXPECT_FALSE(aut.is_running());
  EXPECT_EQ(types(start()), (types_are{"fork_server_started"}));
  EXPECT_EQ(aut.number(), 1u);
  EXPECT_EQ(aut.pid(), 101);
  EXPECT_TRUE(aut.is_running());
  EXPECT_FALSE(aut.is_ready());
  EXPECT_EQ(aut.model(), nullptr);
  EXPECT_FALSE(load()) << "there was no model before";
  EXPECT_TRUE(aut.is_ready());
  ASSERT_NE(aut.model(), nullptr);
  EXPECT_EQ(aut.model()->model_name, "digits");
}

TEST_F(ForkServerKeeper, IsStartedAgainAfterItsDeathAndTheBreakerStaysShut) {
  start_and_load();
  const auto told = die("killed");
  ASSERT_EQ(types(told), (types_are{"fork_server_died"}));
  EXPECT_EQ(std::get<events::fork_server_died>(told.news[0]).reason, "killed");
  EXPECT_EQ(told.restart_in, 50ms);
  EXPECT_FALSE(told.trigger) << "its workers live on";
  EXPECT_FALSE(told.give_up);
  EXPECT_FALSE(aut.is_running());
  EXPECT_TRUE(aut.was_ever_ready());
}

TEST_F(ForkServerKeeper, RaisesTheTriggerWhenItDiesBeforeItHasProvedItself) {
  start_and_load();
  die();
  start_and_load();
  const auto told = die();
  ASSERT_TRUE(told.trigger);
  EXPECT_TRUE(told.trigger->raised);
  EXPECT_EQ(told.trigger->values.at("deaths"), 2);
  EXPECT_EQ(told.restart_in, 100ms) << "later with each death";
}

TEST_F(ForkServerKeeper, IsTrustedAgainWhenItHasLivedForAWhile) {
  start_and_load();
  die();
  start_and_load();
  die();
  start_and_load();
  now += 4'999ms;
  EXPECT_FALSE(aut.tick(now).trigger);
  now += 1ms;
  const auto told = aut.tick(now);
  ASSERT_TRUE(told.trigger);
  EXPECT_FALSE(told.trigger->raised);
  EXPECT_FALSE(aut.tick(now).trigger) << "it is lowered once";
  EXPECT_EQ(die().restart_in, 50ms);
}

TEST_F(ForkServerKeeper, SaysOnceThatItsRestartIntensityIsExceeded) {
  for (auto i = 0; i < 3; ++i) {
    start_and_load();
    EXPECT_EQ(types(die()), (types_are{"fork_server_died"}));
  }
  start_and_load();
  const auto told = die();
  EXPECT_EQ(types(told), (types_are{"fork_server_died", "restart_intensity_exceeded"}));
  EXPECT_EQ(told.restart_in, 5s);
  EXPECT_TRUE(aut.keeps_dying());
  start_and_load();
  EXPECT_EQ(types(die()), (types_are{"fork_server_died"}));
  now += 61s;
  start_and_load();
  now += 5s;
  aut.tick(now);
  EXPECT_FALSE(aut.keeps_dying());
}

TEST_F(ForkServerKeeper, GivesUpIfTheFirstOneEndsBeforeItIsReady) {
  start();
  const auto told = die();
  ASSERT_TRUE(told.give_up);
  EXPECT_EQ(told.give_up->code, errc::unavailable);
  EXPECT_FALSE(told.restart_in);
}

TEST_F(ForkServerKeeper, GivesUpIfAModelThatHasNeverLoadedDoesNotLoad) {
  start();
  wire::server_failed news;
  news.error_code = "model_missing";
  news.error_message = "no such folder";
  const auto told = aut.failed(news);
  ASSERT_TRUE(told.give_up);
  EXPECT_EQ(told.give_up->code, errc::model_missing);
  EXPECT_NE(aut.trouble().find("no such folder"), std::string::npos);
}

TEST_F(ForkServerKeeper, TriesAgainIfAModelThatHadLoadedDoesNotLoadAnyMore) {
  start_and_load();
  die();
  start();
  wire::server_failed news;
  news.error_code = "model_corrupt";
  news.error_message = "it is being copied";
  EXPECT_FALSE(aut.failed(news).give_up);
  const auto told = die(aut.trouble());
  EXPECT_FALSE(told.give_up);
  EXPECT_TRUE(told.restart_in);
  start_and_load();
  EXPECT_TRUE(aut.trouble().empty());
}

TEST_F(ForkServerKeeper, GivesUpIfTheFirstOneCannotBeStarted) {
  aut.start(++servers);
  const auto told = aut.not_started({errc::io, "no ziyu-worker"}, random);
  ASSERT_TRUE(told.give_up);
  EXPECT_EQ(told.give_up->code, errc::io);
  EXPECT_FALSE(told.restart_in);
}

TEST_F(ForkServerKeeper, TriesAgainIfALaterOneCannotBeStarted) {
  start_and_load();
  die();
  aut.start(++servers);
  const auto told = aut.not_started({errc::io, "too many files"}, random);
  EXPECT_FALSE(told.give_up);
  EXPECT_EQ(told.restart_in, 100ms);
  ASSERT_TRUE(told.trigger);
  EXPECT_EQ(told.trigger->values.at("attempts"), 1);
  EXPECT_EQ(told.trigger->values.at("next_attempt_ms"), 100);
  EXPECT_NE(aut.trouble().find("too many files"), std::string::npos);
  aut.start(3);
  EXPECT_EQ(aut.number(), 3u);
}

TEST_F(ForkServerKeeper, KillsOneThatDoesNotBecomeReady) {
  start();
  EXPECT_FALSE(aut.tick(now + 60s).kill);
  EXPECT_TRUE(aut.tick(now + 60'001ms).kill);
  EXPECT_NE(aut.trouble().find("not ready within 60000 ms"), std::string::npos);
}

TEST_F(ForkServerKeeper, TellsWhenTheModelHasChanged) {
  start_and_load();
  die();
  start();
  EXPECT_FALSE(load("aa"));
  die();
  start();
  EXPECT_TRUE(load("bb"));
}

TEST_F(ForkServerKeeper, SaysNothingOfAnEndThatIsWanted) {
  start_and_load();
  const auto told = aut.closed(true, "", now, random);
  EXPECT_TRUE(told.news.empty());
  EXPECT_FALSE(told.restart_in);
  EXPECT_FALSE(aut.is_running());
}

TEST_F(ForkServerKeeper, AbortsOnBrokenTransitions) {
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  EXPECT_DEATH(load(), "does not load a model");
  EXPECT_DEATH(aut.started(1, now), "without being asked for");
  EXPECT_DEATH(die(), "does not run");
  start();
  EXPECT_DEATH(aut.start(2), "beside the first");
}

} // namespace ziyu::supervision
