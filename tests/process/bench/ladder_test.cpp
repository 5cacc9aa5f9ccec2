// Each rung of the ladder and each cause, by real actors and real workers; only Kafka is replaced,
// by jobs from memory. Cases that need a GPU are in the actors' replacements_test.cpp, with a
// worker that is only messages.

#include "bench/actors/pool.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

namespace ziyu::bench {
namespace {

using nlohmann::json;

constexpr uint64_t mib = uint64_t{1} << 20;

class Ladder : public ::testing::Test {
protected:
  Ladder() {
    settings.faults_allowed = true;
    settings.budget_bytes = 48 * mib;
    settings.hard_limit_bytes = 256 * mib;
    settings.restart_intensity = 1'000;
    settings.max_attempts = 50;
  }

  void start() {
    service_.emplace(settings, [this](const events::event& x) {
      std::lock_guard guard{mutex_};
      events_.emplace_back(std::string{type_of(x.body)}, detail_of(x.body));
      changed_.notify_all();
    });
  }

  /// Runs so many jobs with this fault from start to end; returns how many of them succeeded.
  uint64_t work(uint64_t jobs, const std::string& fault = {}) {
    uint64_t submitted = 0, good = 0;
    for (; submitted < std::min<uint64_t>(4, jobs); ++submitted)
      service_->submit(picture_, fault);
    for (uint64_t done = 0; done < jobs; ++done) {
      const auto x = service_->next();
      good += x.ok;
      highest_ = std::max(highest_, x.private_bytes);
      if (submitted < jobs) {
        service_->submit(picture_, fault);
        ++submitted;
      }
    }
    return good;
  }

  /// Works until there is such an event; returns its detail, null when there is none in time.
  json work_until(const std::string& type, uint64_t most_jobs, const std::string& fault = {}) {
    for (uint64_t done = 0; done < most_jobs && count(type) == 0; done += 20)
      work(20, fault);
    // An explanation may be on its way.
    std::unique_lock guard{mutex_};
    changed_.wait_for(guard, std::chrono::seconds{40}, [&] { return find(type) != nullptr; });
    const auto found = find(type);
    return found != nullptr ? *found : json();
  }

  size_t count(const std::string& type) {
    std::lock_guard guard{mutex_};
    return static_cast<size_t>(std::count_if(events_.begin(), events_.end(),
                                             [&](const auto& x) { return x.first == type; }));
  }

  /// The replacement of slot 0's worker of this generation, null when there is none in time. The
  /// first one's event waits for its own explanation. A later one, whose leak is not known yet, may
  /// be published before it.
  json replacement_of(uint64_t generation) {
    std::unique_lock guard{mutex_};
    json found;
    changed_.wait_for(guard, std::chrono::seconds{40}, [&] {
      for (const auto& [type, detail] : events_)
        if (type == "worker_replaced" && detail.at("generation") == generation)
          found = detail;
      return !found.is_null();
    });
    return found;
  }

  /// All explained replacements, when there are so many different ones, or when time is over.
  std::set<std::string> causes(size_t different) {
    std::unique_lock guard{mutex_};
    std::set<std::string> found;
    changed_.wait_for(guard, std::chrono::seconds{40}, [&] {
      for (const auto& [type, detail] : events_)
        if (type == "worker_replaced" && detail.at("cause") != "unknown")
          found.insert(detail.at("cause").get<std::string>());
      return found.size() >= different;
    });
    return found;
  }

  uint64_t lost() const { return service_->submitted() - service_->finished(); }

  pool_settings settings;
  uint64_t highest_ = 0;

private:
  const json* find(const std::string& type) const {
    for (const auto& x : events_)
      if (x.first == type)
        return &x.second;
    return nullptr;
  }

  std::shared_ptr<const std::string> picture_ = std::make_shared<const std::string>(
    need(read_file(test::source_dir() + "/tests/data/digits/0_024.png")));
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::string, json>> events_;
  std::optional<pool> service_; // after what its events use
};

// -- rungs --------------------------------------------------------------------------------------

TEST_F(Ladder, ATrimThatSufficesPreventsTheReplacement) {
  settings.slot_faults[0] = "fragment:512KiB";
  start();
  const auto trimmed = work_until("worker_trimmed", 600);
  ASSERT_TRUE(trimmed.is_object());
  EXPECT_EQ(trimmed.at("verdict"), "hoarding");
  EXPECT_EQ(trimmed.at("enough"), true);
  EXPECT_GT(trimmed.at("bytes_recovered").get<uint64_t>(), 10 * mib);
  EXPECT_EQ(count("worker_replaced"), 0u);
  EXPECT_LT(highest_, settings.budget_bytes);
  EXPECT_EQ(lost(), 0u);
}

TEST_F(Ladder, ALeakIsReplacedWithoutATrimOrAKill) {
  settings.slot_faults[0] = "native_malloc:256KiB";
  start();
  const auto replaced = work_until("worker_replaced", 600);
  ASSERT_TRUE(replaced.is_object());
  EXPECT_GT(replaced.at("bytes_recovered").get<uint64_t>(), 10 * mib);
  EXPECT_LT(highest_, settings.budget_bytes);
  EXPECT_EQ(count("worker_trimmed"), 0u) << "a trim gives nothing of a leak back";
  EXPECT_EQ(count("worker_killed"), 0u);
  EXPECT_EQ(count("worker_died"), 0u);
  EXPECT_EQ(lost(), 0u);
}

TEST_F(Ladder, AWorkerAtTheHardLimitIsKilledAndNoJobIsLost) {
  start();
  EXPECT_EQ(work(20), 20u);
  EXPECT_EQ(work(1, "native_malloc:300MiB"), 1u) << "counted when the worker is over it";
  const auto killed = work_until("worker_killed", 200);
  ASSERT_TRUE(killed.is_object());
  EXPECT_EQ(killed.at("code"), "hard_limit");
  EXPECT_GE(killed.at("private_bytes").get<uint64_t>(), settings.hard_limit_bytes);
  EXPECT_EQ(work(20), 20u);
  EXPECT_EQ(lost(), 0u);
}

TEST_F(Ladder, TooManyDeathsOpenTheBreaker) {
  settings.restart_intensity = 1;
  settings.restart_period = std::chrono::seconds{8};
  settings.max_attempts = 6;
  settings.slots = 2;
  settings.slot_faults[0] = "crash"; // of each job, which succeeds in the other slot
  start();
  EXPECT_TRUE(work_until("restart_intensity_exceeded", 200).is_object());
  EXPECT_TRUE(work_until("breaker_opened", 0).is_object());
  EXPECT_EQ(lost(), 0u);
}

TEST_F(Ladder, DeathsThatFollowAJobAreNotCountedAgainstThePool) {
  settings.restart_intensity = 3;
  settings.restart_period = std::chrono::seconds{10};
  settings.max_attempts = 6;
  start();
  EXPECT_EQ(work(4), 4u);
  EXPECT_EQ(work(1, "crash"), 0u) << "a dead letter after its attempts";
  EXPECT_EQ(count("restart_intensity_exceeded"), 0u);
  EXPECT_EQ(count("breaker_opened"), 0u);
  EXPECT_EQ(work(4), 4u);
  EXPECT_EQ(lost(), 0u);
}

// -- causes -------------------------------------------------------------------------------------

struct cause {
  const char *name, *fault, *expected;
};

class LadderCause : public Ladder, public ::testing::WithParamInterface<cause> {};

TEST_P(LadderCause, IsNamedInTheReplacementOfARealWorker) {
  settings.slot_faults[0] = GetParam().fault;
  start();
  work_until("worker_replaced", 1'000);
  const auto replaced = replacement_of(1);
  ASSERT_TRUE(replaced.is_object());
  EXPECT_EQ(replaced.at("cause"), GetParam().expected) << replaced.dump(1);
  EXPECT_EQ(lost(), 0u);
}

INSTANTIATE_TEST_SUITE_P(
  OfAFault, LadderCause,
  ::testing::Values(cause{"Tensors", "retain_tensors:256KiB", "retained_tensors"},
                    cause{"Images", "retain_images:256KiB", "retained_images"},
                    cause{"Model", "reload_model", "model_reloaded"},
                    cause{"Native", "native_malloc:256KiB", "native_allocation"},
                    cause{"Threads", "thread_local:256KiB", "thread_local"},
                    cause{"OneJobInFour", "slow_leak:1MiB:4", "native_allocation"}),
  [](const auto& x) { return std::string{x.param.name}; });

TEST_F(Ladder, AModelThatKeepsStateIsNamed) {
  settings.model = test::source_dir() + "/tests/data/models/leaky/1";
  settings.budget_bytes = 20 * mib;
  start();
  work_until("worker_replaced", 1'000);
  const auto replaced = replacement_of(1);
  ASSERT_TRUE(replaced.is_object());
  EXPECT_EQ(replaced.at("cause"), "retained_tensors");
}

TEST_F(Ladder, WhatNobodyLookedIntoIsUnknown) {
  settings.explain = false;
  settings.slot_faults[0] = "native_malloc:256KiB";
  start();
  const auto replaced = work_until("worker_replaced", 600);
  ASSERT_TRUE(replaced.is_object());
  EXPECT_EQ(replaced.at("cause"), "unknown") << "counters alone cannot tell";
}

// -- the promise of an explanation ----------------------------------------------------------------

TEST_F(Ladder, TheInjectedSiteIsTheFirstRowWithItsTrueBytes) {
  settings.budget_bytes = 256 * mib;    // it serves on while it is explained
  settings.judge.model_cache_bytes = 1; // it has no cache: growth is a leak at once
  settings.slot_faults[0] = "native_malloc:256KiB";
  start();
  const auto report = work_until("leak_report", 400);
  ASSERT_TRUE(report.is_object());
  const auto first = report.at("sites").at(0);
  EXPECT_THAT(first.at("responsible").at("function").get<std::string>(),
              ::testing::HasSubstr("keep_block"));
  const auto truth = 256. * 1024 * report.at("growth").at("jobs").get<double>();
  EXPECT_GE(first.at("bytes").get<double>(), 0.8 * truth);
  EXPECT_LE(first.at("bytes").get<double>(), 1.2 * truth);
}

TEST_F(Ladder, LeaksThatTakeTurnsInOneJobOfFourAreToldApart) {
  // As large per job as each other, so that only their stacks tell.
  constexpr const char* faults[] = {"retain_tensors:512KiB", "retain_images:512KiB",
                                    "native_malloc:512KiB"};
  start();
  for (auto round = 0; round < 2; ++round)
    for (auto fault : faults)
      for (auto i = 0; i < 70; ++i) { // nearly two lives of a worker
        work(3);
        work(1, fault);
      }
  EXPECT_THAT(causes(3), ::testing::UnorderedElementsAre("retained_tensors", "retained_images",
                                                         "native_allocation"));
  EXPECT_LT(highest_, settings.budget_bytes);
  EXPECT_EQ(lost(), 0u);
}

} // namespace
} // namespace ziyu::bench
