#include "actors/inference.hpp"

#include "tests/support/actor_stage.hpp"
#include "tests/support/fake_actors.hpp"
#include "tests/support/fake_kafka.hpp"

namespace ziyu::actors {

namespace {

using namespace ziyu::test;

/// What a worker's channel was told.
struct channel_log {
  std::vector<wire::frame> frames;
  std::vector<caf::actor> owners;
};

class Inference : public actor_fixture {
protected:
  void start(bool faults_allowed = false) {
    inference_settings s;
    s.slot = 2;
    s.top_k = 3;
    s.faults_allowed = faults_allowed;
    s.dispatcher = spawn(fake_dispatcher, to_dispatcher);
    s.supervisor = spawn(fake_supervisor, to_supervisor);
    aut = spawn(inference, s);
  }

  /// Links worker `id` (pid 1000 + id) as generation `id`.
  void link(uint64_t id, std::string fault = "", uint64_t budget_bytes = 0) {
    auto log = channels.emplace_back(std::make_shared<channel_log>());
    auto channel = own(sys.spawn([log](caf::event_based_actor*) -> caf::behavior {
      return {
        [log](const outgoing_frame& x) {
          wire::frame_reader reader;
          reader.feed(*x.bytes);
          log->frames.push_back(reader.next().value().value());
        },
        [log](atom::own, const caf::actor& x) { log->owners.push_back(x); },
      };
    }));
    worker_link x;
    x.worker = id;
    x.pid = static_cast<int32_t>(1000 + id);
    x.generation = id;
    x.channel = std::move(channel);
    x.fault = std::move(fault);
    x.private_bytes = 8'000;
    x.private_offset = 4096;
    x.budget_bytes = budget_bytes;
    x.activity = activity;
    x.max_batch = 8;
    x.lone_jobs = true;
    send(aut, x);
  }

  std::shared_ptr<std::optional<attempt_outcome>> request(std::string fault = "") {
    auto job = std::make_shared<messaging::job>(
      *messaging::decode_job(make_record(0), messaging::job_limits{}));
    job->fault = std::move(fault);
    return ask<attempt_outcome>(aut, attempt_request{{{job}}, 1s});
  }

  template <class Frame>
  std::vector<Frame> sent(size_t channel) const {
    std::vector<Frame> xs;
    for (const auto& x : channels.at(channel)->frames)
      if (auto y = std::get_if<Frame>(&x))
        xs.push_back(*y);
    return xs;
  }

  void answer(uint64_t worker, uint64_t attempt_id, std::string error_code = "",
              uint64_t anonymous = 10'000, size_t jobs = 1) {
    wire::answer each;
    each.error_code = std::move(error_code);
    each.width = 4;
    each.height = 5;
    wire::result x;
    x.attempt_id = attempt_id;
    x.answers.assign(jobs, each);
    x.delta_live = 77;
    x.memory.rss_anon = anonymous;
    send(aut, channel_frame{worker, std::make_shared<const wire::frame>(x)});
  }

  void close(uint64_t worker, std::optional<error> reason = {}) {
    send(aut, channel_closed{worker, std::move(reason)});
  }

  std::shared_ptr<dispatcher_log> to_dispatcher = std::make_shared<dispatcher_log>();
  std::shared_ptr<supervisor_log> to_supervisor = std::make_shared<supervisor_log>();
  std::shared_ptr<worker_activity> activity = std::make_shared<worker_activity>();
  std::vector<std::shared_ptr<channel_log>> channels;
  inference_actor aut;
};

} // namespace

TEST_F(Inference, TakesOverItsFirstWorkerAtOnce) {
  start();
  link(1, "crash");
  ASSERT_EQ(channels[0]->owners.size(), 1u);
  EXPECT_EQ(channels[0]->owners[0], aut);
  EXPECT_EQ(sent<wire::assign>(0).at(0), (wire::assign{2, 1, "crash"}));
  ASSERT_EQ(to_supervisor->switched.size(), 1u);
  EXPECT_EQ(to_supervisor->switched[0].worker, 1u);
  EXPECT_EQ(to_supervisor->switched[0].previous, 0u);
  EXPECT_EQ(to_dispatcher->slots_up, std::vector<uint32_t>{2});
}

TEST_F(Inference, KeepsOneTimerForAllAttemptsAndStillEndsTheOneThatHangs) {
  start();
  link(1);
  const auto timers = sched.clock().schedule().size();
  for (uint64_t i = 1; i <= 50; ++i) {
    request();
    answer(1, i);
  }
  EXPECT_EQ(sched.clock().schedule().size(), timers + 1);
  advance(700ms);
  request();
  advance(990ms);
  EXPECT_TRUE(to_supervisor->hung.empty()) << "an earlier attempt's time is not this one's";
  advance(20ms);
  EXPECT_EQ(to_supervisor->hung.size(), 1u);
}

TEST_F(Inference, RunsABatchAndReportsTheMemoryOfTheWhole) {
  start();
  link(1);
  attempt_request batch;
  for (auto offset : {0, 1, 2})
    batch.jobs.push_back({std::make_shared<const messaging::job>(
      *messaging::decode_job(make_record(offset), messaging::job_limits{}))});
  const auto outcome = ask<attempt_outcome>(aut, batch);
  ASSERT_EQ(sent<wire::batch>(0).size(), 1u);
  ASSERT_EQ(sent<wire::batch>(0)[0].jobs.size(), 3u);
  EXPECT_EQ(sent<wire::batch>(0)[0].jobs[2].image, "image 2");
  answer(1, 1, "", 10'000, 2);
  EXPECT_FALSE(*outcome) << "not an answer for each job";
  answer(1, 1, "", 10'000, 3);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->answer->answers.size(), 3u);
  ASSERT_EQ(to_supervisor->jobs.size(), 1u);
  const supervision::job_input each{.encoded_bytes = 7, .decoded_bytes = 60};
  EXPECT_THAT(to_supervisor->jobs[0].memory.jobs, testing::ElementsAre(each, each, each));
}

TEST_F(Inference, TellsHowManyJobsItsWorkerTakesTogether) {
  start();
  link(1);
  EXPECT_EQ(to_dispatcher->most_jobs, std::vector<uint32_t>{1}) << "a young worker: one by one";
  const auto first = request();
  send(aut, lone_jobs_wish{7, false}); // of another worker
  answer(1, 1);
  EXPECT_EQ((*first)->most_jobs, 1u);
  const auto second = request();
  send(aut, lone_jobs_wish{1, false});
  answer(1, 2);
  EXPECT_EQ((*second)->most_jobs, 8u) << "as many as its model takes";
  const auto third = request();
  send(aut, lone_jobs_wish{1, true});
  answer(1, 3);
  EXPECT_EQ((*third)->most_jobs, 1u);
}

TEST_F(Inference, TakesNoMoreJobsTogetherThanThereIsRoomForIfItGrows) {
  start();
  link(1, "", 40'000);
  send(aut, lone_jobs_wish{1, false});
  const auto first = request();
  answer(1, 1, "", 13'000); // 17,096 private, after 8,000: a job adds 9,096
  EXPECT_EQ((*first)->most_jobs, 2u) << "the rest has " << 40'000 - 1'250 - 17'096;
}

TEST_F(Inference, RunsAnAttemptAndReportsItsMemory) {
  start();
  link(1);
  auto outcome = request();
  ASSERT_EQ(sent<wire::batch>(0).size(), 1u);
  const auto job = sent<wire::batch>(0)[0];
  EXPECT_EQ(job.jobs.at(0).image, "image 0");
  EXPECT_EQ(job.top_k, 3u);
  EXPECT_FALSE(*outcome);
  answer(1, job.attempt_id);
  ASSERT_TRUE(*outcome);
  EXPECT_FALSE((*outcome)->failure);
  EXPECT_TRUE((*outcome)->slot_up);
  EXPECT_EQ((*outcome)->slot, 2u);
  EXPECT_EQ((*outcome)->generation, 1u);
  EXPECT_EQ((*outcome)->pid, 1001);
  EXPECT_EQ((*outcome)->private_bytes, 14'096u);
  ASSERT_EQ(to_supervisor->jobs.size(), 1u);
  const auto& done = to_supervisor->jobs[0];
  EXPECT_EQ(done.worker, 1u);
  EXPECT_EQ(done.slot, 2u);
  EXPECT_EQ(done.memory.delta_live, 77);
  EXPECT_EQ(done.memory.private_bytes, 14'096u);
  const supervision::job_input its{.encoded_bytes = 7, .decoded_bytes = 60};
  EXPECT_THAT(done.memory.jobs, testing::ElementsAre(its));
}

TEST_F(Inference, CorrectsPrivateMemoryByTheSupervisorsReading) {
  start();
  link(1);
  send(aut, private_reading{1, -20'000});
  auto outcome = request();
  answer(1, 1);
  EXPECT_EQ((*outcome)->private_bytes, 0u) << "never below nothing";
}

TEST_F(Inference, TakesNoJobThatMayReachTheBudgetBeforeTheSupervisorHasSpoken) {
  start();
  link(1, "", 20'000);
  const auto fits = request();
  answer(1, 1, "", 9'000); // 13,096 private, after 8,000
  EXPECT_TRUE((*fits)->slot_up);
  const auto last = request();
  answer(1, 2, "", 12'500); // 16,596: another one like it would be 20,096
  ASSERT_TRUE(*last);
  EXPECT_FALSE((*last)->failure) << "its own job is done";
  EXPECT_FALSE((*last)->slot_up);
  ASSERT_EQ(to_supervisor->jobs.size(), 2u);
  EXPECT_FALSE(to_supervisor->jobs[0].held);
  EXPECT_TRUE(to_supervisor->jobs[1].held);
  const auto refused = request();
  ASSERT_TRUE(*refused);
  EXPECT_EQ((*refused)->failure->code, errc::unavailable);
  EXPECT_FALSE((*refused)->slot_up);
  EXPECT_EQ(sent<wire::batch>(0).size(), 2u);

  send(aut, go_ahead{7});
  EXPECT_EQ(to_dispatcher->slots_up.size(), 1u) << "another worker's";
  send(aut, go_ahead{1});
  EXPECT_EQ(to_dispatcher->slots_up, (std::vector<uint32_t>{2, 2}));
  send(aut, go_ahead{1});
  EXPECT_EQ(to_dispatcher->slots_up.size(), 2u) << "it is not held any more";
  const auto more = request();
  answer(1, 3, "", 15'000);
  EXPECT_FALSE((*more)->failure);
}

TEST_F(Inference, ExpectsOfTheNextJobWhatTheLargestOfLateHasTaken) {
  start();
  link(1, "", 100'000);
  request();
  answer(1, 1, "", 24'000); // 28,096 private, after 8,000: a step of 20,096
  for (uint64_t i = 2; i < 20; ++i) {
    const auto outcome = request();
    answer(1, i, "", 24'000 + 2'000 * i); // an allocator takes pages in lumps
    ASSERT_TRUE(*outcome);
    ASSERT_TRUE((*outcome)->slot_up) << i;
  }
  const auto last = request();
  answer(1, 20, "", 73'000); // 77,096: once more 20,096 would leave less than a 32nd
  EXPECT_FALSE((*last)->slot_up);
  EXPECT_EQ(to_supervisor->jobs.back().memory.step_bytes, 20'096u);
}

TEST_F(Inference, IsHeldOnceWhenTheSupervisorWantsToSeeItsWorkerIdle) {
  start();
  link(1);
  send(aut, private_reading{1, 4096, true});
  auto outcome = request();
  answer(1, 1);
  EXPECT_TRUE((*outcome)->slot_up) << "it was idle when it was asked";
  outcome = request();
  send(aut, private_reading{7, 4096, true});
  send(aut, private_reading{1, 4096, true});
  answer(1, 2);
  EXPECT_FALSE((*outcome)->slot_up);
  EXPECT_TRUE(to_supervisor->jobs.back().held);
  send(aut, go_ahead{1});
  outcome = request();
  answer(1, 3);
  EXPECT_TRUE((*outcome)->slot_up) << "once";
}

TEST_F(Inference, TellsOfEachMomentWhetherItsWorkerHasAJob) {
  start();
  link(1);
  EXPECT_TRUE(worker_activity::idle_at(activity->moment()));
  request();
  EXPECT_FALSE(worker_activity::idle_at(activity->moment()));
  answer(1, 1);
  EXPECT_TRUE(worker_activity::idle_at(activity->moment()));
  EXPECT_EQ(to_supervisor->jobs.back().memory.moment, activity->moment());
  request();
  answer(1, 2);
  EXPECT_GT(to_supervisor->jobs.back().memory.moment, to_supervisor->jobs.front().memory.moment);
}

TEST_F(Inference, ASuccessorTakesOverFromAHeldWorker) {
  start();
  link(1, "", 20'000);
  const auto last = request();
  answer(1, 1, "", 16'000);
  EXPECT_FALSE((*last)->slot_up);
  link(2, "", 20'000);
  EXPECT_EQ(to_dispatcher->slots_up, (std::vector<uint32_t>{2, 2}));
  const auto next = request();
  answer(2, 2, "", 4'000);
  EXPECT_EQ((*next)->generation, 2u);
  EXPECT_TRUE((*next)->slot_up);
}

TEST_F(Inference, RefusesWithoutAWorker) {
  start();
  auto outcome = request();
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::unavailable);
  EXPECT_FALSE((*outcome)->slot_up);
}

TEST_F(Inference, RunsOneAttemptAtATime) {
  start();
  link(1);
  auto first = request();
  auto second = request();
  ASSERT_TRUE(*second);
  EXPECT_EQ((*second)->failure->code, errc::unavailable);
  EXPECT_EQ(sent<wire::batch>(0).size(), 1u);
  answer(1, 1);
  ASSERT_TRUE(*first);
  EXPECT_FALSE((*first)->failure);
}

TEST_F(Inference, TellsOfAHungWorkerAndAnswersWhenItIsDead) {
  start();
  link(1);
  auto outcome = request();
  advance(1100ms);
  EXPECT_FALSE(*outcome) << "only the end of the process frees the slot";
  ASSERT_EQ(to_supervisor->hung.size(), 1u);
  EXPECT_EQ(to_supervisor->hung[0].worker, 1u);
  EXPECT_EQ(to_supervisor->hung[0].job_ids, "job-0-0");
  close(1);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::deadline_exceeded);
  EXPECT_FALSE((*outcome)->slot_up);
}

TEST_F(Inference, ForgetsTheDeadlineOfAnAttemptThatIsOver) {
  start();
  link(1);
  auto first = request();
  answer(1, 1);
  advance(900ms);
  auto second = request();
  advance(200ms); // the first one's deadline passes
  EXPECT_TRUE(to_supervisor->hung.empty());
  answer(1, 2);
  EXPECT_TRUE(*second);
}

TEST_F(Inference, NamesTheWorkerThatDied) {
  start();
  link(3);
  auto outcome = request();
  close(3);
  ASSERT_TRUE(*outcome);
  const auto& failure = *(*outcome)->failure;
  EXPECT_EQ(failure.code, errc::worker_died);
  EXPECT_NE(failure.message.find("slot 2, generation 3, pid 1003"), std::string::npos)
    << failure.message;
  EXPECT_FALSE((*outcome)->slot_up);
}

TEST_F(Inference, NamesTheReasonOfAKill) {
  start();
  link(1);
  auto outcome = request();
  send(aut, kill_notice{1, {errc::hard_limit, "900 MiB"}});
  close(1);
  EXPECT_EQ((*outcome)->failure->code, errc::hard_limit);
}

TEST_F(Inference, NamesRubbishOnTheSocket) {
  start();
  link(1);
  auto outcome = request();
  close(1, error{errc::bad_frame, "no magic"});
  EXPECT_EQ((*outcome)->failure->code, errc::bad_frame);
}

TEST_F(Inference, SwitchesAfterTheRunningAttempt) {
  start();
  link(1);
  auto outcome = request();
  link(2);
  EXPECT_TRUE(channels[1]->owners.empty()) << "the old worker is still at it";
  answer(1, 1);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->generation, 1u) << "who did it";
  EXPECT_TRUE((*outcome)->slot_up);
  ASSERT_EQ(to_supervisor->switched.size(), 2u);
  EXPECT_EQ(to_supervisor->switched[1].worker, 2u);
  EXPECT_EQ(to_supervisor->switched[1].previous, 1u);
  auto next = request();
  EXPECT_EQ(sent<wire::batch>(0).size(), 1u);
  EXPECT_EQ(sent<wire::batch>(1).size(), 1u);
  answer(2, 2);
  EXPECT_EQ((*next)->generation, 2u);
}

TEST_F(Inference, SwitchesAtOnceWhenIdle) {
  start();
  link(1);
  link(2);
  EXPECT_EQ(channels[1]->owners.size(), 1u);
  EXPECT_EQ(to_supervisor->switched.back().previous, 1u);
}

TEST_F(Inference, TakesTheNextWorkerWhenTheOldOneDiesDuringItsLastAttempt) {
  start();
  link(1);
  auto outcome = request();
  link(2);
  close(1);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::worker_died);
  EXPECT_TRUE((*outcome)->slot_up) << "the new one is there already";
  EXPECT_EQ(to_supervisor->switched.back().previous, 0u);
}

TEST_F(Inference, StaysWithTheOldWorkerWhenTheNextOneDies) {
  start();
  link(1);
  auto outcome = request();
  link(2);
  close(2);
  answer(1, 1);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ(to_supervisor->switched.size(), 1u);
  request();
  EXPECT_EQ(sent<wire::batch>(0).size(), 2u);
}

TEST_F(Inference, IgnoresWhatAnOldWorkerSays) {
  start();
  link(1);
  link(2);
  auto outcome = request();
  answer(1, 1);
  close(1);
  EXPECT_FALSE(*outcome);
  EXPECT_TRUE(to_supervisor->jobs.empty());
}

TEST_F(Inference, IgnoresAnAnswerToAnotherAttempt) {
  start();
  link(1);
  auto outcome = request();
  answer(1, 99);
  EXPECT_FALSE(*outcome);
}

TEST_F(Inference, GivesAJobsFaultToTheWorkerOnlyIfAllowed) {
  start(false);
  link(1);
  request("crash");
  EXPECT_EQ(sent<wire::batch>(0).at(0).jobs.at(0).fault, "");
}

TEST_F(Inference, GivesAJobsFaultToTheWorkerIfAllowed) {
  start(true);
  link(1);
  request("crash");
  EXPECT_EQ(sent<wire::batch>(0).at(0).jobs.at(0).fault, "crash");
}

TEST_F(Inference, AnswersWhenItIsShutDown) {
  start();
  link(1);
  auto outcome = request();
  caf::anon_send_exit(aut, caf::exit_reason::kill);
  run();
  ASSERT_TRUE(*outcome);
  EXPECT_EQ((*outcome)->failure->code, errc::unavailable);
  EXPECT_FALSE((*outcome)->slot_up);
}

} // namespace ziyu::actors
