// The credit of a job comes back whatever happens to the job.

#include "tests/support/dispatcher_stage.hpp"

namespace ziyu::test {

namespace {

class CreditOfAJob : public Dispatcher {
protected:
  void expect_all_back() const {
    EXPECT_EQ(credit->jobs(), 0u);
    EXPECT_EQ(credit->bytes(), 0u);
  }

  void end_dispatcher() {
    caf::anon_send_exit(aut, caf::exit_reason::user_shutdown);
    run();
  }
};

} // namespace

TEST_F(CreditOfAJob, ComesBackWhenItsPartitionIsNotOurs) {
  start();
  fetch(make_record(0, 1, 1));
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhenItIsFetchedTwice) {
  start();
  fetch(make_record(0));
  fetch(make_record(0));
  EXPECT_EQ(credit->jobs(), 1u);
  EXPECT_EQ(credit->bytes(), 100u);
}

TEST_F(CreditOfAJob, IsGrantedToMoreWhileASlotWaitsThoughAllIsUsed) {
  credit = std::make_shared<intake>(intake::limits{1'000, 1'000'000});
  start(2);
  for (auto offset = 0; credit->open(); ++offset)
    fetch(make_record(offset));
  EXPECT_EQ(credit->granted().jobs, 64u);
  while (status().queued > 0)
    succeed(0);
  EXPECT_EQ(credit->granted().jobs, 64u) << "no slot waits";
  succeed(0);
  EXPECT_EQ(credit->granted().jobs, 128u) << "all 64 are at the publisher or on slot 1";
  EXPECT_TRUE(credit->open());
  for (const auto& x : outbox())
    acknowledge(x);
  advance(20s);
  EXPECT_EQ(credit->granted().jobs, 64u) << "few were needed for a while";
}

TEST_F(CreditOfAJob, ComesBackWhenItIsDoneAlready) {
  start();
  messaging::offset_map map;
  map.finished = {{5, 6}};
  assign_from(p0, 2, 3, map);
  fetch(make_record(5, 2));
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhenItsPartitionIsTakenAway) {
  start();
  for (auto offset : {0, 1, 2})
    fetch(make_record(offset));
  revoke({p0}, 1);
  EXPECT_EQ(credit->jobs(), 1u) << "the running one";
  succeed();
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhenItsDeadLetterIsThere) {
  start();
  fetch(make_record(0), error{errc::missing_field, "as the test says"});
  EXPECT_EQ(credit->jobs(), 1u);
  acknowledge_last();
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhileItIsSetAsideAndOnlyOnce) {
  start();
  fetch(make_record(0), error{errc::missing_field, "as the test says"});
  const auto letter = outbox().back();
  tell({letter.kind,
        letter.source,
        letter.epoch,
        false,
        {},
        error{errc::kafka, "its topic takes nothing"}});
  expect_all_back();
  acknowledge(letter);
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhenItWaitsAtADrain) {
  start();
  for (auto offset : {0, 1})
    fetch(make_record(offset));
  const auto drained = ask<bool>(aut, atom::drain{}, uint64_t{1'000});
  EXPECT_EQ(credit->jobs(), 1u) << "the running one";
  fetch(make_record(2));
  EXPECT_EQ(credit->jobs(), 1u) << "too late";
  succeed();
  acknowledge_last();
  EXPECT_EQ(*drained, true);
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhenTheDispatcherEnds) {
  start();
  for (auto offset : {0, 1, 2})
    fetch(make_record(offset));
  slots[0]->open.clear();
  end_dispatcher();
  expect_all_back();
}

TEST_F(CreditOfAJob, ComesBackWhenItReachesADispatcherThatHasEnded) {
  start();
  end_dispatcher();
  fetch(make_record(0));
  expect_all_back();
}

} // namespace ziyu::test
