#include "supervision/pool/worker_life.hpp"

#include "base/log.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace ziyu::supervision {

namespace {

using phase = worker_life::phase;

/// A worker in phase `x`.
worker_life worker_in(phase x) {
  worker_life result;
  if (x == phase::ending) {
    result.end();
    return result;
  }
  const std::vector<void (worker_life::*)()> steps{&worker_life::forked, &worker_life::ready,
                                                   &worker_life::link, &worker_life::serve};
  for (size_t i = 0; i < static_cast<size_t>(x); ++i)
    (result.*steps[i])();
  return result;
}

constexpr phase all[] = {phase::spawning, phase::warming, phase::standby,
                         phase::linked,   phase::serving, phase::ending};

} // namespace

TEST(WorkerLife, GoesFromTheForkToItsSlot) {
  for (const auto x : all)
    EXPECT_EQ(worker_in(x).now(), x) << to_string(x);
}

TEST(WorkerLife, MayBeReadyBeforeTheNewsOfItsFork) {
  worker_life aut;
  aut.ready();
  EXPECT_TRUE(aut.is_standby());
}

TEST(WorkerLife, MayEndInAnyPhaseAndMoreThanOnce) {
  for (const auto x : all) {
    auto aut = worker_in(x);
    EXPECT_EQ(aut.end(), x);
    EXPECT_TRUE(aut.is_ending());
    EXPECT_EQ(aut.end(), phase::ending);
  }
}

TEST(WorkerLife, AbortsOnEachOtherTransition) {
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  struct step {
    void (worker_life::*what)();
    std::vector<phase> from;
  };
  const step steps[] = {{&worker_life::forked, {phase::spawning}},
                        {&worker_life::ready, {phase::spawning, phase::warming}},
                        {&worker_life::link, {phase::standby}},
                        {&worker_life::serve, {phase::linked}}};
  for (const auto& [what, from] : steps)
    for (const auto x : all) {
      if (std::find(from.begin(), from.end(), x) != from.end())
        continue;
      auto aut = worker_in(x);
      EXPECT_DEATH((aut.*what)(), "a worker that is " + std::string{to_string(x)});
    }
}

TEST(WorkerLife, IsComingUntilItHasASlot) {
  for (const auto x : all)
    EXPECT_EQ(worker_in(x).is_coming(), x <= phase::standby) << to_string(x);
}

} // namespace ziyu::supervision
