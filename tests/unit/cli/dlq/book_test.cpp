#include "cli/dlq/book.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

using namespace ziyu;
using namespace ziyu::cli;
using messaging::dead_letter_action;

namespace {

constexpr auto topic = "image.jobs-dlt";

messaging::record letter_at(int32_t partition, int64_t offset, const std::string& job,
                            errc code = errc::bad_base64, int64_t time_ms = 1'000) {
  messaging::record source;
  source.id = {"image.jobs", 0, offset};
  messaging::record x;
  x.id = {topic, partition, offset};
  x.key = job;
  x.value = std::make_shared<const std::string>("payload");
  x.headers = messaging::dead_letter_headers(source, {code, "why"}, 1, time_ms);
  return x;
}

messaging::record mark_at(int32_t partition, int64_t offset, int64_t of, dead_letter_action what) {
  const auto out = messaging::make_mark({topic, partition, of}, what, 5'000);
  messaging::record x;
  x.id = {topic, partition, offset};
  x.key = out.key;
  x.value = std::make_shared<const std::string>(*out.value);
  x.headers = out.headers;
  return x;
}

std::vector<std::string> jobs_of(const std::vector<dead_letter_book::letter>& letters) {
  std::vector<std::string> result;
  for (const auto& x : letters)
    result.push_back(x.what.job_id);
  return result;
}

using names = std::vector<std::string>;

} // namespace

TEST(DlqBook, ListsByTimeAndKeepsNoPayload) {
  dead_letter_book x{{}};
  x.add(letter_at(0, 0, "late", errc::io, 3'000));
  x.add(letter_at(0, 1, "early", errc::io, 1'000));
  x.add(letter_at(1, 0, "middle", errc::io, 2'000));
  const auto all = x.letters(false);
  EXPECT_EQ(jobs_of(all), (names{"early", "middle", "late"}));
  EXPECT_EQ(all[0].payload_bytes, 7u);
  EXPECT_EQ(all[0].head.value, nullptr);
}

TEST(DlqBook, HidesWhatIsDealtWith) {
  dead_letter_book x{{}};
  x.add(letter_at(0, 0, "a"));
  x.add(letter_at(0, 1, "b"));
  x.add(letter_at(1, 0, "c"));
  x.add(mark_at(0, 2, 0, dead_letter_action::replayed));
  x.add(mark_at(1, 1, 0, dead_letter_action::dropped));
  x.add(mark_at(1, 2, 0, dead_letter_action::replayed)); // comes too late
  x.add(mark_at(1, 3, 77, dead_letter_action::dropped)); // of what is gone
  EXPECT_EQ(jobs_of(x.letters(false)), names{"b"});
  EXPECT_EQ(x.handled(), 2u);
  const auto all = x.letters(true);
  ASSERT_EQ(jobs_of(all), (names{"a", "b", "c"}));
  EXPECT_EQ(all[0].mark->what, dead_letter_action::replayed);
  EXPECT_FALSE(all[1].mark);
  EXPECT_EQ(all[2].mark->what, dead_letter_action::dropped);
}

TEST(DlqBook, FiltersByCodeJobRecordAndTime) {
  const auto select = [](dead_letter_filter which) {
    dead_letter_book x{std::move(which)};
    x.add(letter_at(0, 0, "a", errc::bad_base64, 1'000));
    x.add(letter_at(0, 1, "b", errc::max_attempts, 2'000));
    x.add(letter_at(1, 0, "a", errc::max_attempts, 3'000));
    x.add(mark_at(1, 1, 0, dead_letter_action::dropped));
    return jobs_of(x.letters(true));
  };
  dead_letter_filter f;
  EXPECT_TRUE(f.empty());
  EXPECT_EQ(select(f).size(), 3u);
  f.codes = {"max_attempts", "timeout"};
  EXPECT_FALSE(f.empty());
  EXPECT_EQ(select(f), (names{"b", "a"}));
  f.jobs = {"a"};
  EXPECT_EQ(select(f), names{"a"});
  f = {};
  f.records = {{0, 1}};
  EXPECT_EQ(select(f), names{"b"});
  f = {};
  f.since_ms = 2'000;
  EXPECT_EQ(select(f), (names{"b", "a"}));
  f.until_ms = 3'000;
  EXPECT_EQ(select(f), names{"b"});
}

TEST(DlqMoment, ReadsTimesOfManyKinds) {
  ::setenv("TZ", "UTC-8", 1); // eight hours ahead
  ::tzset();
  constexpr int64_t now = 1'764'000'000'000;
  const std::pair<const char*, int64_t> cases[] = {
    {"1764000000123", 1'764'000'000'123},
    {"90s", now - 90'000},
    {"15m", now - 900'000},
    {"2h", now - 7'200'000},
    {"7d", now - 604'800'000},
    {"0s", now},
    {"2026-11-25T10:30:05Z", 1'795'602'605'000},
    {"2026-11-25T10:30Z", 1'795'602'600'000},
    {"2026-11-25Z", 1'795'564'800'000},
    {"2026-11-25T10:30", 1'795'602'600'000 - 8 * 3'600'000},
  };
  for (const auto& [text, wanted] : cases) {
    const auto x = parse_moment(text, now);
    ASSERT_TRUE(x) << text;
    EXPECT_EQ(*x, wanted) << text;
  }
  for (const auto* text : {"", "yesterday", "-5m", "5", "5x", "2026-11", "2026-11-25T10:30 ", "m",
                           "99999999999999999999", "2026-11-25T10:30+08:00"}) {
    const auto x = parse_moment(text, now);
    ASSERT_FALSE(x) << text;
    EXPECT_EQ(x.error().code, errc::invalid_usage);
  }
  ::unsetenv("TZ");
  ::tzset();
}

TEST(DlqRecord, ReadsPartitionAndOffsetWithOrWithoutTheTopic) {
  using pair = std::pair<int32_t, int64_t>;
  EXPECT_EQ(parse_record("3-42", topic), (pair{3, 42}));
  EXPECT_EQ(parse_record("image.jobs-dlt-3-42", topic), (pair{3, 42}));
  for (const auto* text : {"", "3", "3-", "-42", "a-b", "3-42-1", "other-3-42", "3--42"})
    EXPECT_FALSE(parse_record(text, topic)) << text;
}
