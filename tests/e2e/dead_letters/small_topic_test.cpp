// A dead-letter topic with a lower size limit than the job topic: its dead letters become smaller,
// and nothing is stuck.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"
#include "messaging/dead_letter.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

class SmallTopic : public testing::TestWithParam<const char*> {};

} // namespace

INSTANTIATE_TEST_SUITE_P(, SmallTopic, testing::Values("at_least_once", "exactly_once"),
                         [](const auto& x) { return std::string{x.param}; });

TEST_P(SmallTopic, TakesEachLetterInAFormThatFits) {
  stage x{shared_broker(), false};
  x.create_topics({"jobs", "results", "events"});
  must(messaging::create_topics(x.client(),
                                {{x.topic("dead"), 1, 1, {{"max.message.bytes", "200000"}}}}, 30s));
  x.begin_reading();
  json patch{{"delivery", {{"guarantee", GetParam()}}}};
  if (GetParam() == std::string{"exactly_once"})
    patch["delivery"]["transactional_id"] = x.topic("service");
  auto s = x.serve(patch);
  // As large on the wire, nothing is compressed by default; and larger than a batch, so that
  // it goes alone.
  const std::string bulk(300'000, 'x');
  x.submit({job_record("fits", "no image"), job_record("payload", bulk, {{"own", "1"}}),
            job_record("headers", "no image", {{"own", bulk}}), job_record(bulk, "no image"),
            job_record("good", digits()[0].bytes, {{"own", bulk}})});
  ASSERT_TRUE(x.read_until([&] { return x.results().size() == 1 && x.dead_letters().size() == 4; }))
    << x.account() << s.log();
  EXPECT_EQ(x.results().front().job_id(), "good");
  for (const auto& d : x.dead_letters()) {
    const auto letter = messaging::read_dead_letter(d);
    SCOPED_TRACE(letter.job_id.substr(0, 80));
    EXPECT_EQ(letter.code, "undecodable_image");
    EXPECT_EQ(letter.source.topic, x.topic("jobs"));
    EXPECT_EQ(letter.incomplete, d.key != "fits");
    EXPECT_EQ(d.value == nullptr, d.key != "fits");
    EXPECT_EQ(header(d, "own"), d.key == "payload" ? "1" : "(none)");
    if (letter.job_id.starts_with("xxx")) {
      EXPECT_EQ(d.key, to_string(letter.source));
    }
    EXPECT_LE(letter.job_id.size(), 256u);
  }
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
