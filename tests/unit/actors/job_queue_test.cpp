#include "actors/job_queue.hpp"

#include <gtest/gtest.h>

#include <random>

namespace ziyu::actors {

namespace {

using namespace std::chrono_literals;
using time_point = job_queue::time_point;

job_queue::entry_ptr make(int64_t offset, std::optional<std::string> key = {},
                          int32_t partition = 0) {
  auto source = std::make_shared<messaging::record>();
  source->id = {"t", partition, offset};
  source->epoch = 1;
  source->key = std::move(key);
  auto x = std::make_shared<job_entry>();
  x->job.source = std::move(source);
  return x;
}

const auto all = [](const job_entry&) { return true; };
int64_t offset_of(const job_queue::entry_ptr& x) { return x ? x->job.source->id.offset : -1; }

} // namespace

TEST(JobQueue, WithoutOrderEachMayStartAndBePublishedAtOnce) {
  job_queue x;
  const auto a = make(0, "k"), b = make(1, "k");
  x.push(a);
  x.push(b);
  EXPECT_EQ(offset_of(x.pop({}, all)), 0);
  EXPECT_EQ(offset_of(x.pop({}, all)), 1);
  EXPECT_EQ(x.pop({}, all), nullptr);
  x.decide(*b);
  EXPECT_TRUE(x.may_publish(*b));
}

TEST(JobQueue, WhatIsNotAdmittedKeepsItsPlaceAndLetsOthersPass) {
  job_queue x;
  x.push(make(0));
  x.push(make(1));
  EXPECT_EQ(offset_of(x.pop({}, [](const job_entry& e) { return e.job.source->id.offset != 0; })),
            1);
  EXPECT_EQ(offset_of(x.pop({}, all)), 0);
}

TEST(JobQueue, AJobThatCouldNotBeginGoesFirst) {
  job_queue x;
  auto a = make(0);
  x.push(a);
  a = x.pop({}, all);
  x.push(make(1));
  x.push_again(a);
  EXPECT_EQ(offset_of(x.pop({}, all)), 0);
  EXPECT_EQ(offset_of(x.pop({}, all)), 1);
}

TEST(JobQueue, ASuspectGoesLastWhenItIsDueAndFirstWhenItIsOverdue) {
  job_queue x;
  const time_point now{};
  const auto suspect = [](int64_t offset) {
    auto e = make(offset);
    e->deaths.emplace_back();
    return e;
  };
  x.push_suspect(suspect(0), now + 1s, now + 6s);
  EXPECT_EQ(x.pop(now, all), nullptr) << "not yet";
  for (auto offset : {1, 2, 3})
    x.push(make(offset));
  EXPECT_EQ(x.size(), 4u);
  EXPECT_EQ(offset_of(x.pop(now + 1s, all)), 1);
  EXPECT_EQ(offset_of(x.pop(now + 5s, all)), 2);
  EXPECT_EQ(offset_of(x.pop(now + 6s, all)), 0) << "fresh jobs may never come to an end";
  EXPECT_EQ(offset_of(x.pop(now + 6s, all)), 3);
}

TEST(JobQueue, ASuspectThatOthersOfItsLaneWaitForGoesAheadOfOtherLanes) {
  job_queue x{ordering::key};
  const time_point now{};
  x.push(make(0, "k"));
  x.push(make(1, "l"));
  const auto suspect = x.pop(now, all);
  suspect->deaths.emplace_back();
  x.came_back(*suspect);
  x.push_suspect(suspect, now + 1s, now + 6s);
  EXPECT_EQ(offset_of(x.pop(now + 1s, all)), 1) << "nobody waits for the suspect yet";
  x.push(make(2, "k"));
  x.push(make(3, "m"));
  EXPECT_EQ(offset_of(x.pop(now, all)), 3) << "the pause before a retry is kept";
  x.push(make(4, "n"));
  EXPECT_EQ(offset_of(x.pop(now + 1s, all)), 0) << "the good job behind it waits for it only";
  EXPECT_EQ(offset_of(x.pop(now + 1s, all)), 4);
}

TEST(JobQueue, OneSuspectIsOutAtATime) {
  job_queue x;
  std::vector<job_queue::entry_ptr> suspects;
  for (auto offset : {0, 1}) {
    suspects.push_back(make(offset));
    suspects.back()->deaths.emplace_back();
    x.push_suspect(suspects.back(), {}, {});
  }
  EXPECT_EQ(x.pop({}, all), suspects[0]);
  EXPECT_EQ(x.pop({}, all), nullptr);
  x.push(make(2));
  EXPECT_EQ(offset_of(x.pop({}, all)), 2) << "others go on";
  x.came_back(*suspects[0]);
  EXPECT_EQ(x.pop({}, all), suspects[1]);
}

TEST(JobQueue, FindsWhatWouldBeNextAndLeavesItThere) {
  job_queue x{ordering::key};
  x.push(make(0, "k"));
  x.push(make(1, "k"));
  x.push(make(2, "l"));
  const auto not_first = [](const job_entry& e) { return e.job.source->id.offset > 0; };
  EXPECT_EQ(offset_of(x.find({}, not_first)), 2) << "the second of a lane is not next";
  EXPECT_EQ(x.size(), 3u);
}

TEST(JobQueue, OneLaneRunsOneJobAtATime) {
  job_queue x{ordering::key};
  x.push(make(0, "k"));
  x.push(make(1, "k"));
  x.push(make(2, "l"));
  x.push(make(3)); // no key, no order
  const auto a = x.pop({}, all);
  EXPECT_EQ(offset_of(a), 0);
  EXPECT_EQ(offset_of(x.pop({}, all)), 2);
  EXPECT_EQ(offset_of(x.pop({}, all)), 3);
  EXPECT_EQ(x.pop({}, all), nullptr);
  EXPECT_EQ(x.blocked().blocked, 1u);
  x.decide(*a);
  EXPECT_EQ(offset_of(x.pop({}, all)), 1);
  EXPECT_EQ(x.blocked().blocked, 0u);
}

TEST(JobQueue, AHeldResultComesOutWhenTheOneBeforeIsFinal) {
  job_queue x{ordering::partition};
  x.push(make(0));
  x.push(make(1));
  const auto a = x.pop({}, all);
  x.decide(*a);
  const auto b = x.pop({}, all);
  x.decide(*b);
  EXPECT_TRUE(x.may_publish(*a));
  EXPECT_FALSE(x.may_publish(*b));
  b->held.emplace();
  EXPECT_EQ(x.finish(*a), b);
  EXPECT_TRUE(x.may_publish(*b));
  EXPECT_EQ(x.finish(*b), nullptr);
}

TEST(JobQueue, PartitionsAreLanesOfTheirOwn) {
  job_queue x{ordering::partition};
  x.push(make(0, {}, 0));
  x.push(make(0, {}, 1));
  EXPECT_NE(x.pop({}, all), nullptr);
  EXPECT_NE(x.pop({}, all), nullptr);
}

TEST(JobQueue, RemovedJobsBlockNobody) {
  job_queue x{ordering::key};
  x.push(make(0, "k"));
  x.push(make(1, "k"));
  EXPECT_EQ(x.remove_if([](const job_entry& e) { return e.job.source->id.offset == 0; }).size(),
            1u);
  EXPECT_EQ(offset_of(x.pop({}, all)), 1);
  EXPECT_EQ(x.size(), 0u);
}

TEST(Ordering, HasStableNames) {
  for (const auto& [value, name] : {std::pair{ordering::unordered, "unordered"},
                                    {ordering::key, "key"},
                                    {ordering::partition, "partition"}}) {
    EXPECT_EQ(to_string(value), name);
    ordering back{};
    EXPECT_TRUE(from_string(name, back));
    EXPECT_EQ(back, value);
  }
  ordering unused{};
  EXPECT_FALSE(from_string("sorted", unused));
}

// Random schedules: per lane one job at a time, started and published in the order of its
// records; all that is pushed comes out; nobody waits for another lane; one suspect at a time.
TEST(JobQueueProperty, KeepsTheOrderOfEachLaneWhateverHappens) {
  for (uint64_t seed = 1; seed <= 3'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random{seed};
    const auto below = [&](uint64_t n) { return random() % n; };
    const auto mode = seed % 2 == 0 ? ordering::key : ordering::partition;
    job_queue x{mode};
    std::map<std::string, int64_t> started, published; // lane -> last offset
    std::map<std::string, int> running;
    std::vector<job_queue::entry_ptr> active, decided, at_broker;
    int64_t next = 0, out = 0;
    time_point now{};
    auto publish = [&](const job_queue::entry_ptr& e) {
      ASSERT_LT(published.emplace(e->lane, -1).first->second, offset_of(e)) << e->lane;
      published[e->lane] = offset_of(e);
      at_broker.push_back(e);
    };
    for (auto step = 0; step < 400 || out < next; ++step) {
      ASSERT_LT(step, 4'000) << "stuck";
      switch (below(5)) {
      case 0:
        if (step < 400)
          x.push(make(next++, std::string(1, static_cast<char>('a' + below(3))),
                      static_cast<int32_t>(below(2))));
        break;
      case 1:
        now += 1s;
        if (auto e = x.pop(now, all)) {
          ASSERT_EQ(running[e->lane]++, 0) << "two of a lane at a time";
          for (const auto& other : active)
            ASSERT_FALSE(e->is_suspect() && other->is_suspect()) << "two suspects at a time";
          ASSERT_LE(started.emplace(e->lane, -1).first->second, offset_of(e));
          started[e->lane] = offset_of(e);
          active.push_back(e);
        }
        break;
      case 2:
        if (!active.empty()) {
          const auto i = below(active.size());
          const auto e = active[i];
          active.erase(active.begin() + static_cast<ptrdiff_t>(i));
          --running[e->lane];
          x.came_back(*e);
          if (below(8) == 0) {
            x.push_again(e);
            break;
          }
          if (below(8) == 0) {
            e->deaths.emplace_back();
            const auto due = now + std::chrono::seconds{below(5)};
            x.push_suspect(e, due, due + 5s);
            break;
          }
          x.decide(*e);
          if (x.may_publish(*e))
            publish(e);
          else
            e->held.emplace();
        }
        break;
      default:
        if (!at_broker.empty()) {
          const auto i = below(at_broker.size());
          const auto e = at_broker[i];
          at_broker.erase(at_broker.begin() + static_cast<ptrdiff_t>(i));
          ++out;
          if (const auto following = x.finish(*e)) {
            following->held.reset();
            publish(following);
          }
        }
        break;
      }
      ASSERT_FALSE(HasFatalFailure());
    }
  }
}

} // namespace ziyu::actors
