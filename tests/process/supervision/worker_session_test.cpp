// A model alone, run by `worker_session`: what it does and how it fails.

#include "base/file.hpp"
#include "supervision/worker_session.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <csignal>

namespace ziyu::supervision {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

worker_session::settings of(const std::string& model) {
  worker_session::settings x;
  x.executable = test::program_dir() + "/ziyu-worker";
  x.model = model;
  x.faults_allowed = true;
  return x;
}

const std::string digits = test::source_dir() + "/models/digits/1";

std::string image() {
  return read_file(test::source_dir() + "/tests/data/digits/0_024.png").value();
}

bool is_gone(int32_t pid) { return pid != 0 && ::kill(pid, 0) != 0; }

TEST(WorkerSession, RunsJobsTrimsAndProfiles) {
  auto session = worker_session::start(of(digits));
  ASSERT_TRUE(session) << session.error().describe();
  EXPECT_EQ(session->server().model_name, "digits");
  ASSERT_TRUE(session->spawn());
  EXPECT_EQ(session->worker().pid, session->pid());
  const auto answer = session->run(image());
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_EQ(answer->error_code, "");
  EXPECT_EQ(answer->top_k.size(), 1);
  EXPECT_EQ(session->run("no image").value().error_code, "undecodable_image");
  EXPECT_TRUE(session->trim());
  EXPECT_TRUE(session->profile(wire::profile::start));
  EXPECT_THAT(session->profile(wire::profile::dump).value().heap, HasSubstr("heap_v2"));
  EXPECT_GT(session->memory().value().private_bytes, 0);
}

TEST(WorkerSession, LeavesNothing) {
  int32_t server = 0, worker = 0;
  {
    auto session = worker_session::start(of(digits));
    ASSERT_TRUE(session);
    server = session->server_pid();
    ASSERT_TRUE(session->spawn());
    const auto first = session->pid();
    ASSERT_TRUE(session->spawn());
    EXPECT_TRUE(is_gone(first));
    worker = session->pid();
    EXPECT_FALSE(is_gone(worker));
  }
  EXPECT_TRUE(is_gone(worker));
  EXPECT_TRUE(is_gone(server));
}

TEST(WorkerSession, SaysHowItsWorkerDiedAndCanHaveAnother) {
  auto session = worker_session::start(of(digits));
  ASSERT_TRUE(session);
  EXPECT_EQ(session->run(image()).error().code, errc::unavailable); // none yet
  ASSERT_TRUE(session->spawn("crash"));
  const auto answer = session->run(image());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, errc::worker_died);
  EXPECT_THAT(answer.error().message, HasSubstr("SIGSEGV"));
  ASSERT_TRUE(session->spawn());
  EXPECT_TRUE(session->run(image()));
}

TEST(WorkerSession, EndsAWorkerThatDoesNotAnswerOrTalksRubbish) {
  auto settings = of(digits);
  settings.answer_limit = 100ms;
  auto session = worker_session::start(settings);
  ASSERT_TRUE(session);
  ASSERT_TRUE(session->spawn("hang"));
  const auto hung = session->pid();
  EXPECT_EQ(session->run(image()).error().code, errc::deadline_exceeded);
  EXPECT_TRUE(is_gone(hung));
  auto other = worker_session::start(of(digits));
  ASSERT_TRUE(other);
  ASSERT_TRUE(other->spawn("garbage"));
  const auto mad = other->pid();
  EXPECT_EQ(other->run(image()).error().code, errc::bad_frame);
  EXPECT_TRUE(is_gone(mad));
}

TEST(WorkerSession, WaitsNoLongerThanItIsWanted) {
  auto settings = of(digits);
  std::atomic asked{0};
  auto cancelled = false;
  settings.cancelled = [&] { return cancelled && ++asked > 1; };
  auto session = worker_session::start(settings);
  ASSERT_TRUE(session);
  ASSERT_TRUE(session->spawn("hang"));
  cancelled = true;
  EXPECT_EQ(session->run(image()).error().code, errc::stopping);
  EXPECT_EQ(asked, 2);
}

TEST(WorkerSession, SaysWhyAModelCannotBeUsed) {
  EXPECT_EQ(worker_session::start(of("/nonexistent")).error().code, errc::model_missing);
  auto settings = of(digits);
  settings.executable = "/nonexistent";
  EXPECT_EQ(worker_session::start(settings).error().code, errc::io);
  settings.executable = "/bin/false";
  const auto ended = worker_session::start(settings);
  EXPECT_EQ(ended.error().code, errc::io);
  EXPECT_THAT(ended.error().message, HasSubstr("exit code 1"));
}

} // namespace
} // namespace ziyu::supervision
