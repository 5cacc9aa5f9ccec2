// An image that the model fails on costs only its own job.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;

namespace {

/// An 8×8 BMP of one grey.
std::string grey(uint8_t value) {
  constexpr uint32_t side = 8, pixels = side * side * 3;
  std::string x(54 + pixels, static_cast<char>(value));
  const auto put = [&x](size_t at, uint32_t number) {
    for (size_t i = 0; i < 4; ++i)
      x[at + i] = static_cast<char>(number >> (8 * i));
  };
  x.replace(0, 54, 54, '\0');
  x[0] = 'B';
  x[1] = 'M';
  put(2, 54 + pixels);
  put(10, 54);
  put(14, 40);
  put(18, side);
  put(22, side);
  x[26] = 1;
  x[28] = 24;
  put(34, pixels);
  return x;
}

} // namespace

TEST(PickyModel, ImagesThatItThrowsOnHoldNoOtherUp) {
  stage x{shared_broker()};
  auto s = x.serve(
    {{"model", {{"path", source_file("tests/data/models/picky/1").string()}, {"top_k", 1}}}});
  s.await_workers(2, 1);
  constexpr size_t each = 100;
  std::vector<messaging::outgoing> records;
  for (size_t i = 0; i < each; ++i)
    for (const auto& [kind, value] :
         {std::pair{"throws", 250}, {"dark", 40}, {"nan", 215}, {"light", 180}}) {
      const auto key = kind + std::string{"-"} + std::to_string(i);
      records.push_back(job_record(key, grey(static_cast<uint8_t>(value))));
      x.expect(key);
    }
  x.submit(std::move(records));
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 2 * each);
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("label"), r.job_id().starts_with("dark") ? "暗" : "亮") << r.document;
  EXPECT_EQ(x.dead_letters().size(), 2 * each);
  for (const auto& d : x.dead_letters()) {
    EXPECT_EQ(header(d, "__connect.errors.exception.class.name"), "inference_failed");
    EXPECT_EQ(header(d, "ziyu-attempts"), "1");
    if (d.key->starts_with("throws")) {
      EXPECT_THAT(header(d, "__connect.errors.exception.message"),
                  testing::HasSubstr("这张图片太亮"));
    }
  }
  EXPECT_EQ(s.stop(), 0) << s.log();
  ASSERT_TRUE(x.read_event("service_stopped"));
  EXPECT_TRUE(x.events("breaker_opened").empty()) << x.events("breaker_opened").at(0);
  EXPECT_TRUE(x.events("worker_died").empty());
}

TEST(PickyModel, ThatAnswersNothingStopsIntakeBeforeTheTopicIsDeadLetters) {
  stage x{shared_broker()};
  auto s = x.serve(
    {{"model", {{"path", source_file("tests/data/models/picky/1").string()}, {"top_k", 1}}},
     {"jobs", {{"max_in_flight", 4}}},
     {"breaker", {{"open_ms", 600'000}, {"open_max_ms", 600'000}}}});
  s.await_workers(2, 1);
  std::vector<messaging::outgoing> records;
  for (size_t i = 0; i < 200; ++i)
    records.push_back(job_record("throws-" + std::to_string(i), grey(250)));
  x.submit(std::move(records));
  ASSERT_TRUE(x.read_event("breaker_opened", "cause", "error_rate")) << x.account() << s.log();
  EXPECT_TRUE(eventually([&] { return s.get_json("/health").at("running") == 0; }));
  EXPECT_EQ(s.get("/readyz").status, 503);
  EXPECT_THAT(s.get("/readyz").body, testing::HasSubstr("none of the latest 20 jobs succeeded"));
  EXPECT_LT(s.get_json("/health").at("dead_letters").get<int>(), 60);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
