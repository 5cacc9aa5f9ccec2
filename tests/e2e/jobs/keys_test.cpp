// Keys of any bytes: one id for each key, and results in the partition of their job's key.

#include "base/text.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/job_id.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;

namespace {

/// As Java's LongSerializer writes it.
std::string java_long(uint64_t x) {
  std::string result;
  for (int shift = 56; shift >= 0; shift -= 8)
    result += static_cast<char>(x >> shift);
  return result;
}

/// Keys that were, or could be, confused with each other.
std::vector<std::string> keys() {
  std::vector<std::string> result;
  for (uint64_t n = 126; n < 140; ++n)
    result.push_back(java_long(n));
  for (const auto* text : {"plain", "照片-七.png", "hex:0000000000000080", "hex:", "\xef\xbf\xbd",
                           "\xff", "\xfe", "照\xe7\x85", "照\xe7", "a\nb"})
    result.emplace_back(text);
  result.emplace_back("a\0b", 3);
  result.emplace_back("a\0", 2);
  result.emplace_back(1, '\0');
  return result;
}

std::string hex_of(const std::string& bytes) {
  std::string result;
  for (const unsigned char c : bytes) {
    constexpr auto digits = "0123456789abcdef";
    result += digits[c >> 4];
    result += digits[c & 15];
  }
  return result;
}

} // namespace

TEST(Keys, EachHasAnIdOfItsOwnAndResultsKeepThemToTheByte) {
  stage x{shared_broker()};
  auto s = x.serve();
  std::vector<messaging::outgoing> jobs;
  const messaging::header_list binary{{"bytes", std::string{"\0\0\0\x80\xff", 5}}};
  for (const auto& key : keys())
    jobs.push_back(job_record(key, digits()[jobs.size()].bytes, binary));
  for (auto i = 0; i < 3; ++i) { // without a key, and with an empty one
    jobs.push_back(job_record({}, digits()[0].bytes, binary));
    jobs.push_back(job_record("", digits()[0].bytes, binary));
  }
  // Dead letters as well.
  for (const auto& key : {java_long(200), java_long(201), std::string{}})
    jobs.push_back(job_record(key, "no image", binary));
  const auto count = jobs.size();
  const auto sent = jobs;
  const auto places = x.submit(std::move(jobs));
  ASSERT_TRUE(x.read_until([&] { return x.results().size() + x.dead_letters().size() == count; }))
    << x.account() << s.log();
  EXPECT_EQ(x.dead_letters().size(), 3u);

  std::map<messaging::record_id, messaging::outgoing> by_place;
  for (size_t i = 0; i < places.size(); ++i)
    by_place[places[i]] = sent[i];
  std::set<std::string> ids;
  for (const auto& r : x.results()) {
    const auto& source = r.document.at("source");
    const auto& job = by_place.at(
      {source.at("topic"), source.at("partition"), source.at("offset")});
    SCOPED_TRACE(hex_of(job.key.value_or("none")));
    EXPECT_EQ(r.raw.key, job.key.value_or(r.job_id()));
    EXPECT_EQ(r.document.at("duplicate_id"), false);
    EXPECT_TRUE(ids.insert(r.job_id()).second) << r.job_id() << " twice";
    if (job.key && !job.key->empty()) {
      EXPECT_EQ(messaging::key_of_id(r.job_id()), job.key);
    } else {
      EXPECT_EQ(r.job_id(), source.at("topic").get<std::string>() + "-"
                              + source.at("partition").dump() + "-" + source.at("offset").dump());
    }
    EXPECT_EQ(messaging::find_header(r.raw.headers, "bytes"), binary[0].second);
  }
  for (const auto& d : x.dead_letters()) {
    const messaging::record_id place{header(d, "__connect.errors.topic"),
                                     std::atoi(header(d, "__connect.errors.partition").c_str()),
                                     std::atoll(header(d, "__connect.errors.offset").c_str())};
    EXPECT_EQ(d.key, by_place.at(place).key);
    EXPECT_TRUE(ids.insert(header(d, "ziyu-job-id")).second);
  }
  // An id finds its dead letter from the command line.
  const auto found = run_program({ziyu_program(), "dlq", "list", "--brokers", x.bootstrap(),
                                  "--set", "topics.dead_letters=" + x.topic("dead"), "--job",
                                  "hex:00000000000000c9", "--json"});
  EXPECT_EQ(found.exit_code, 0) << found.err;
  EXPECT_EQ(std::count(found.out.begin(), found.out.end(), '\n'), 1) << found.out;
  EXPECT_THAT(found.out, testing::HasSubstr("hex:00000000000000c9"));
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(Keys, TheSameKeyAgainIsADuplicate) {
  stage x{shared_broker(), true, 1};
  auto s = x.serve({{"workers", {{"slots", 1}}}});
  std::vector<messaging::outgoing> jobs;
  for (const auto& key : {java_long(128), java_long(129), java_long(128)})
    jobs.push_back(job_record(key, digits()[0].bytes));
  x.submit(std::move(jobs));
  ASSERT_TRUE(x.read_until([&] { return x.results().size() == 3; })) << x.account() << s.log();
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("duplicate_id"), r.document.at("source").at("offset") == 2);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
