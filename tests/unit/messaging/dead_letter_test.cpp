#include "messaging/dead_letter.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace ziyu;
using namespace ziyu::messaging;
using nlohmann::json;

namespace {

/// A dead letter of a job with a key, a payload and headers of its own.
record letter_of(dead_letter_style style, uint32_t attempts = 3) {
  record job;
  job.id = {"image.jobs", 2, 77};
  job.timestamp_ms = 1'700'000'000'000;
  record x;
  x.id = {"image.jobs-dlt", 1, 9};
  x.key = "job-7";
  x.value = std::make_shared<const std::string>(std::string{"\x00\xff payload", 10});
  x.headers = {{"traceparent", "00-1"}, {"twice", "a"}, {"twice", "b"}, {"null", std::nullopt}};
  for (auto& h : dead_letter_headers(job, {errc::max_attempts, "三 attempts"}, attempts,
                                     1'700'000'000'123, style))
    x.headers.push_back(std::move(h));
  return x;
}

} // namespace

TEST(DeadLetterStyle, EitherIsReadBackTheSame) {
  for (auto style : {dead_letter_style::connect, dead_letter_style::kafka_dlt}) {
    const auto x = read_dead_letter(letter_of(style));
    EXPECT_EQ(to_string(x.source), "image.jobs-2-77");
    EXPECT_EQ(x.code, "max_attempts");
    EXPECT_EQ(x.message, "三 attempts");
    EXPECT_EQ(x.attempts, 3u);
    EXPECT_EQ(x.time_ms, 1'700'000'000'123);
    EXPECT_EQ(x.job_id, "job-7");
    EXPECT_EQ(x.replays, 0u);
    EXPECT_FALSE(x.incomplete);
  }
}

TEST(DeadLetterStyle, SpringsNumbersAreBigEndian) {
  const auto x = letter_of(dead_letter_style::kafka_dlt);
  EXPECT_EQ(find_header(x.headers, "kafka_dlt-original-partition"), std::string("\0\0\0\2", 4));
  EXPECT_EQ(find_header(x.headers, "kafka_dlt-original-offset"), std::string("\0\0\0\0\0\0\0M", 8));
  EXPECT_EQ(find_header(x.headers, "kafka_dlt-original-topic"), "image.jobs");
  EXPECT_EQ(find_header(x.headers, "kafka_dlt-exception-fqcn"), "max_attempts");
  EXPECT_FALSE(find_header(x.headers, "__connect.errors.topic"));
}

TEST(DeadLetterStyle, HasTwoNames) {
  auto x = dead_letter_style::connect;
  EXPECT_TRUE(from_string("kafka_dlt", x));
  EXPECT_EQ(x, dead_letter_style::kafka_dlt);
  EXPECT_TRUE(from_string("connect", x));
  EXPECT_EQ(x, dead_letter_style::connect);
  EXPECT_FALSE(from_string("spring", x));
}

TEST(DeadLetterRead, ToleratesStrangers) {
  record x;
  x.id = {"image.jobs-dlt", 0, 1};
  x.timestamp_ms = 5;
  x.headers = {{"__connect.errors.partition", "many"}, {"ziyu-attempts", "-1"}};
  const auto letter = read_dead_letter(x);
  EXPECT_EQ(letter.source.topic, "");
  EXPECT_EQ(letter.job_id, "image.jobs-dlt-0-1");
  EXPECT_EQ(letter.time_ms, 5) << "the record's own";
  EXPECT_EQ(letter.attempts, 0u);
  EXPECT_FALSE(replay_of(x)) << "nobody knows where to";
}

TEST(DeadLetterRead, TheJobsIdIsItsHeadersThenItsKeysThenItsPlaces) {
  auto x = letter_of(dead_letter_style::connect);
  x.headers.emplace_back("ziyu-job-id", "from-json");
  EXPECT_EQ(read_dead_letter(x).job_id, "from-json");
  x = letter_of(dead_letter_style::connect);
  x.key.reset();
  EXPECT_EQ(read_dead_letter(x).job_id, "image.jobs-2-77");
}

// -- replay -----------------------------------------------------------------------------

TEST(Replay, BringsTheJobBackAsItWas) {
  for (auto style : {dead_letter_style::connect, dead_letter_style::kafka_dlt}) {
    const auto x = letter_of(style);
    const auto job = replay_of(x);
    ASSERT_TRUE(job);
    EXPECT_EQ(job->topic, "image.jobs");
    EXPECT_EQ(job->partition, 2);
    EXPECT_EQ(job->key, "job-7");
    EXPECT_EQ(job->value, *x.value);
    ASSERT_EQ(job->headers.size(), 6u);
    EXPECT_EQ(job->headers[0], (header_list::value_type{"traceparent", "00-1"}));
    EXPECT_EQ(job->headers[1], (header_list::value_type{"twice", "a"}));
    EXPECT_EQ(job->headers[2], (header_list::value_type{"twice", "b"}));
    EXPECT_EQ(job->headers[3], (header_list::value_type{"null", std::nullopt}));
    EXPECT_EQ(find_header(job->headers, "ziyu-replays"), "1");
    EXPECT_EQ(json::parse(*find_header(job->headers, "ziyu-history")),
              (json::array({{{"code", "max_attempts"},
                             {"attempts", 3},
                             {"dead_lettered_ms", 1'700'000'000'123},
                             {"record", "image.jobs-dlt-1-9"}}})));
  }
}

TEST(Replay, ATombstoneIsReplayedAsOne) {
  auto x = letter_of(dead_letter_style::connect);
  x.value.reset();
  const auto job = replay_of(x);
  ASSERT_TRUE(job);
  EXPECT_FALSE(job->value);
}

TEST(DeadLetter, TooLargeForItsTopicBecomesSmallerTwice) {
  const error why{errc::job_too_large, "larger than max.message.bytes"};
  for (const auto style : {dead_letter_style::connect, dead_letter_style::kafka_dlt}) {
    auto full = letter_of(style);
    const std::string id(2'000'000, 'k');
    full.key = id;
    full.headers.emplace_back("bulky", std::string(2'000'000, 'h'));
    full.headers.emplace_back("ziyu-job-id", id);
    auto first = slimmed({"dead", full.key, *full.value, full.headers, 0, {}}, why);
    ASSERT_TRUE(first);
    EXPECT_EQ(first->key, full.key);
    EXPECT_FALSE(first->value);
    EXPECT_EQ(first->headers.size(), full.headers.size() + 1);
    auto second = slimmed(*first, why);
    ASSERT_TRUE(second);
    EXPECT_EQ(second->key, "image.jobs-2-77") << "a compacted topic wants one of its own";
    EXPECT_LT(second->bytes(), 4096u) << "whatever the job brought along";
    EXPECT_FALSE(slimmed(*second, why)) << "there is nothing left to leave out";
    // What happened to which job is still told.
    record x;
    x.headers = second->headers;
    const auto letter = read_dead_letter(x);
    EXPECT_EQ(letter.source, read_dead_letter(full).source);
    EXPECT_EQ(letter.code, "max_attempts");
    EXPECT_EQ(letter.attempts, read_dead_letter(full).attempts);
    EXPECT_EQ(letter.time_ms, read_dead_letter(full).time_ms);
    EXPECT_TRUE(letter.incomplete);
    EXPECT_TRUE(id.starts_with(letter.job_id.substr(0, 200)));
    EXPECT_FALSE(replay_of(x));
  }
}

TEST(DeadLetter, OfATombstoneHasNoPayloadToLeaveOut) {
  auto full = letter_of(dead_letter_style::connect);
  const auto slim = slimmed({"dead", full.key, std::nullopt, full.headers, 0, {}},
                            {errc::job_too_large, "larger"});
  ASSERT_TRUE(slim);
  EXPECT_EQ(slim->key, "job-7");
  EXPECT_FALSE(find_header(slim->headers, "traceparent"));
  record x;
  x.headers = slim->headers;
  EXPECT_TRUE(read_dead_letter(x).incomplete);
  EXPECT_FALSE(replay_of(x));
}

TEST(Replay, AnOmittedPayloadIsNotReplayed) {
  auto x = letter_of(dead_letter_style::connect);
  x.headers.emplace_back("ziyu-payload-omitted", "too large");
  x.value.reset();
  const auto job = replay_of(x);
  ASSERT_FALSE(job);
  EXPECT_NE(job.error().message.find("image.jobs-2-77"), std::string::npos) << job.error().message;
}

TEST(Replay, AJobWhoseHeadersWereNotReadIsNotReplayed) {
  auto x = letter_of(dead_letter_style::connect);
  x.headers.emplace_back("ziyu-headers-unread", "50000");
  EXPECT_TRUE(read_dead_letter(x).incomplete);
  EXPECT_FALSE(replay_of(x));
}

// Spring's dead letters grew with each round until they were too large to be written.
TEST(Replay, AJobThatComesBackForeverDoesNotGrow) {
  auto x = letter_of(dead_letter_style::connect);
  size_t after_ten = 0;
  for (int round = 1; round <= 1'000; ++round) {
    const auto job = replay_of(x);
    ASSERT_TRUE(job);
    EXPECT_EQ(find_header(job->headers, "ziyu-replays"), std::to_string(round));
    // The service gives it up again.
    record source;
    source.id = {job->topic, 2, 77 + round};
    source.headers = job->headers;
    x.id.offset += 1;
    x.headers = without_reason(source.headers);
    for (auto& h : dead_letter_headers(
           source, {errc::max_attempts, "三 attempts"}, 3, 1'700'000'000'123 + round,
           round % 2 == 0 ? dead_letter_style::connect : dead_letter_style::kafka_dlt))
      x.headers.push_back(std::move(h));
    if (round == 10)
      after_ten = x.bytes();
  }
  EXPECT_EQ(json::parse(*find_header(x.headers, "ziyu-history")).size(), 5u);
  EXPECT_LE(x.bytes(), after_ten + 64) << "only numbers grow by digits";
  EXPECT_EQ(read_dead_letter(x).replays, 1'000u);
}

TEST(Replay, RubbishInTheHistoryIsReplacedNotCarriedOn) {
  for (const auto& history : {std::string{"{"}, std::string{"7"},
                              "[" + std::string(9'000, '1') + "]", std::string{"[\"\xff\"]"}}) {
    auto x = letter_of(dead_letter_style::connect);
    x.headers.emplace_back("ziyu-history", history);
    const auto job = replay_of(x);
    ASSERT_TRUE(job);
    const auto text = *find_header(job->headers, "ziyu-history");
    EXPECT_EQ(json::parse(text).size(), 1u) << text.substr(0, 100);
  }
}

// -- marks ------------------------------------------------------------------------------

TEST(DeadLetterMark, IsReadBackAndGoesBehindItsLetter) {
  const auto out = make_mark({"image.jobs-dlt", 1, 9}, dead_letter_action::dropped, 1'234);
  EXPECT_EQ(out.topic, "image.jobs-dlt");
  EXPECT_EQ(out.partition, 1) << "where it is retained no shorter than the letter";
  record x;
  x.id = {"image.jobs-dlt", 1, 10};
  x.key = out.key;
  x.value = std::make_shared<const std::string>(*out.value);
  x.headers = out.headers;
  const auto mark = read_mark(x);
  ASSERT_TRUE(mark);
  EXPECT_EQ(to_string(mark->letter), "image.jobs-dlt-1-9");
  EXPECT_EQ(mark->what, dead_letter_action::dropped);
  EXPECT_EQ(mark->time_ms, 1'234);
}

TEST(DeadLetterMark, NothingElseIsOne) {
  EXPECT_FALSE(read_mark(letter_of(dead_letter_style::connect)));
  auto x = letter_of(dead_letter_style::connect);
  x.headers.emplace_back("ziyu-dlq-mark", "1");
  EXPECT_FALSE(read_mark(x)) << "its value is none";
  x.value.reset();
  EXPECT_FALSE(read_mark(x));
}
