#include "supervision/pool/slot.hpp"

#include "base/log.hpp"

#include <gtest/gtest.h>

namespace ziyu::supervision {

namespace {

class Slot : public testing::Test {
protected:
  static replacement of(uint32_t slot, uint64_t worker) {
    replacement x;
    x.slot = slot;
    x.old_worker = worker;
    x.cause = "leak";
    x.reason = "it grows";
    return x;
  }

  void serve(uint64_t worker) {
    aut.link(worker);
    aut.switch_over();
  }

  slot aut{2, 1};
};

} // namespace

TEST_F(Slot, CountsAGenerationForEachWorkerThatItIsGiven) {
  EXPECT_TRUE(aut.is_empty());
  EXPECT_EQ(aut.link(10), 1u);
  EXPECT_FALSE(aut.is_empty()) << "one is on its way";
  aut.unlink(10);
  EXPECT_TRUE(aut.is_empty());
  EXPECT_EQ(aut.link(11), 2u) << "the generation of a worker that died is not used again";
  aut.switch_over();
  EXPECT_EQ(aut.worker(), 11u);
  EXPECT_EQ(aut.linked(), 0u);
}

TEST_F(Slot, KeepsItsWorkerUntilTheNextOneServes) {
  serve(10);
  aut.want(of(2, 10));
  aut.link(11);
  EXPECT_EQ(aut.worker(), 10u);
  const auto done = aut.switch_over();
  EXPECT_EQ(done.previous, 10u);
  ASSERT_TRUE(done.done);
  EXPECT_EQ(done.done->old_worker, 10u);
  EXPECT_FALSE(aut.wanted());
}

TEST_F(Slot, ForgetsNoOtherWorkerThatIsOnItsWay) {
  aut.link(10);
  aut.unlink(9);
  EXPECT_EQ(aut.linked(), 10u);
}

TEST_F(Slot, CorrectsTheReasonOfItsWorkersReplacementOnly) {
  serve(10);
  aut.want(of(2, 10));
  aut.correct(9, "crash", "another one");
  EXPECT_EQ(aut.wanted()->cause, "leak");
  aut.correct(10, "crash", "it ended by itself");
  EXPECT_EQ(aut.wanted()->cause, "crash");
  EXPECT_EQ(aut.wanted()->reason, "it ended by itself");
}

TEST_F(Slot, ForgetsTheCachesOfAnotherVersion) {
  aut.history().note_end(5'000);
  aut.want_version(1);
  EXPECT_EQ(aut.history().cache_bytes(), 5'000u) << "the same version";
  aut.want_version(2);
  EXPECT_EQ(aut.version(), 2u);
  EXPECT_EQ(aut.history().cache_bytes(), 0u);
}

TEST_F(Slot, TellsHowMuchAReplacementRecovered) {
  auto x = of(2, 10);
  x.old_private = 700;
  x.new_private = 200;
  x.decided_us = 1'000;
  x.switched_us = 3'500;
  x.new_generation = 8;
  const auto told = x.to_event();
  EXPECT_EQ(told.bytes_recovered, 500u);
  EXPECT_DOUBLE_EQ(told.ms, 2.5);
  EXPECT_EQ(told.new_generation, 8u);
  EXPECT_EQ(told.cause, "leak");
  x.new_private = 900;
  EXPECT_EQ(x.to_event().bytes_recovered, 0u) << "never negative";
}

TEST_F(Slot, AbortsOnBrokenTransitions) {
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  EXPECT_DEATH(aut.switch_over(), "switches to no worker");
  EXPECT_DEATH(aut.lose_worker(), "does not have");
  EXPECT_DEATH(aut.want(of(1, 10)), "another slot's");
  serve(10);
  EXPECT_DEATH(aut.link(10), "the one that it has");
  aut.link(11);
  EXPECT_DEATH(aut.link(12), "while the first is on its way");
  aut.want(of(2, 10));
  EXPECT_DEATH(aut.want(of(2, 10)), "two replacements");
}

} // namespace ziyu::supervision
