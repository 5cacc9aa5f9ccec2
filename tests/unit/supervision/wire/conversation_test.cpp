#include "supervision/wire/conversation.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::wire;

namespace {

class Conversation : public ::testing::Test {
protected:
  void tell(const frame& x) { talk.tell(encode(x)); }

  /// Empty when it is taken.
  std::string hear(const frame& x) {
    const auto ok = talk.hear(x);
    if (ok)
      return {};
    EXPECT_EQ(ok.error().code, errc::bad_frame);
    return ok.error().message;
  }

  static result answer_to(uint64_t attempt, size_t jobs = 1) {
    result x;
    x.attempt_id = attempt;
    x.answers.resize(jobs);
    return x;
  }

  static batch job_of(uint64_t attempt, size_t jobs = 1) {
    batch x;
    x.attempt_id = attempt;
    x.jobs.resize(jobs);
    return x;
  }

  static profiled dump_of(uint8_t what) {
    profiled x;
    x.what = what;
    return x;
  }

  conversation talk;
};

} // namespace

TEST_F(Conversation, TakesAnswersInTheOrderOfTheQuestions) {
  EXPECT_EQ(hear(ready{}), "");
  tell(assign{});
  tell(job_of(7));
  tell(trim{});
  tell(profile{profile::dump, 0});
  EXPECT_EQ(talk.open_questions(), 3u);
  EXPECT_EQ(hear(answer_to(7)), "");
  EXPECT_EQ(hear(trimmed{}), "");
  EXPECT_EQ(hear(dump_of(profile::dump)), "");
  EXPECT_EQ(talk.open_questions(), 0u);
  tell(stop{});
  EXPECT_EQ(talk.open_questions(), 0u) << "nothing answers it";
}

TEST_F(Conversation, RefusesWhatNobodyHadAskedFor) {
  EXPECT_EQ(hear(ready{}), "");
  for (const frame& x : {frame{trimmed{}}, frame{profiled{}}, frame{result{}}})
    EXPECT_NE(hear(x).find("which answers no question"), std::string::npos) << x.index();
  tell(trim{});
  EXPECT_EQ(hear(trimmed{}), "");
  EXPECT_NE(hear(trimmed{}), "") << "one question has one answer";
}

TEST_F(Conversation, RefusesAnAnswerThatIsNotOneForEachJob) {
  EXPECT_EQ(hear(ready{}), "");
  tell(job_of(7, 3));
  EXPECT_EQ(hear(answer_to(7, 2)), "the worker answered 2 jobs of a batch of 3");
  EXPECT_NE(hear(answer_to(7, 4)), "");
  EXPECT_EQ(hear(answer_to(7, 3)), "");
}

TEST_F(Conversation, RefusesTheAnswerToAnotherQuestion) {
  EXPECT_EQ(hear(ready{}), "");
  tell(job_of(7));
  EXPECT_NE(hear(answer_to(8)), "") << "of another attempt";
  EXPECT_NE(hear(trimmed{}), "") << "of another kind";
  EXPECT_EQ(hear(answer_to(7)), "");
  tell(profile{profile::start, 14});
  EXPECT_NE(hear(dump_of(profile::dump)), "");
  EXPECT_EQ(hear(dump_of(profile::start)), "");
}

TEST_F(Conversation, TakesReadyOnceAndNothingBefore) {
  tell(job_of(1));
  EXPECT_NE(hear(answer_to(1)).find("before it was ready"), std::string::npos);
  EXPECT_EQ(hear(ready{}), "");
  EXPECT_NE(hear(ready{}), "");
}

TEST_F(Conversation, RefusesWordsOfAForkServer) {
  EXPECT_EQ(hear(ready{}), "");
  EXPECT_NE(hear(exited{}), "");
  EXPECT_NE(hear(spawned{}), "");
}
