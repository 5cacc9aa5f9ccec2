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

namespace {

/// Random steps of a queue, each of which checks what the queue gives: per lane one job at a time,
/// started and published in the order of its records; one suspect at a time.
class random_schedule {
public:
  explicit random_schedule(uint64_t seed)
    : random_(seed), queue_(seed % 2 == 0 ? ordering::key : ordering::partition) {}

  /// One step of any kind; a new record only while `arriving`.
  void step(bool arriving) {
    switch (below(5)) {
    case 0: return arriving ? arrive() : void();
    case 1: return start();
    case 2: return come_back();
    default: return leave_broker();
    }
  }

  bool all_out() const { return out_ == next_; }

private:
  using entries = std::vector<job_queue::entry_ptr>;

  uint64_t below(uint64_t n) { return random_() % n; }

  job_queue::entry_ptr take_any(entries& from) {
    const auto i = from.begin() + static_cast<ptrdiff_t>(below(from.size()));
    auto e = *i;
    from.erase(i);
    return e;
  }

  void arrive() {
    queue_.push(make(next_++, std::string(1, static_cast<char>('a' + below(3))),
                     static_cast<int32_t>(below(2))));
  }

  void start() {
    now_ += 1s;
    const auto e = queue_.pop(now_, all);
    if (!e)
      return;
    ASSERT_EQ(running_[e->lane]++, 0) << "two of a lane at a time";
    for (const auto& other : active_)
      ASSERT_FALSE(e->is_suspect() && other->is_suspect()) << "two suspects at a time";
    ASSERT_LE(started_.emplace(e->lane, -1).first->second, offset_of(e));
    started_[e->lane] = offset_of(e);
    active_.push_back(e);
  }

  /// Not begun, killed its worker, or decided.
  void come_back() {
    if (active_.empty())
      return;
    const auto e = take_any(active_);
    --running_[e->lane];
    queue_.came_back(*e);
    if (below(8) == 0)
      return queue_.push_again(e);
    if (below(8) == 0) {
      e->deaths.emplace_back();
      const auto due = now_ + std::chrono::seconds{below(5)};
      return queue_.push_suspect(e, due, due + 5s);
    }
    queue_.decide(*e);
    if (queue_.may_publish(*e))
      publish(e);
    else
      e->held.emplace();
  }

  void publish(const job_queue::entry_ptr& e) {
    ASSERT_LT(published_.emplace(e->lane, -1).first->second, offset_of(e)) << e->lane;
    published_[e->lane] = offset_of(e);
    at_broker_.push_back(e);
  }

  void leave_broker() {
    if (at_broker_.empty())
      return;
    const auto e = take_any(at_broker_);
    ++out_;
    if (const auto following = queue_.finish(*e)) {
      following->held.reset();
      publish(following);
    }
  }

  std::mt19937_64 random_;
  job_queue queue_;
  std::map<std::string, int64_t> started_, published_; // lane -> last offset
  std::map<std::string, int> running_;
  entries active_, at_broker_;
  int64_t next_ = 0, out_ = 0;
  time_point now_{};
};

} // namespace

// All that is pushed comes out, and nobody waits for another lane.
TEST(JobQueueProperty, KeepsTheOrderOfEachLaneWhateverHappens) {
  for (uint64_t seed = 1; seed <= 3'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_schedule x{seed};
    for (auto step = 0; step < 400 || !x.all_out(); ++step) {
      ASSERT_LT(step, 4'000) << "stuck";
      x.step(step < 400);
      ASSERT_FALSE(HasFatalFailure());
    }
  }
}

} // namespace ziyu::actors
