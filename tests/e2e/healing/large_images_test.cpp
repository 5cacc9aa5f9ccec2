// Images as large as the configuration admits cost no worker, and larger ones only their job.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

namespace {

/// A BMP of one colour whose rows are run lengths: 24 megapixels are 190 KB.
std::string bitmap_of_runs(uint32_t width, uint32_t height) {
  constexpr uint32_t offset = 14 + 40 + 256 * 4;
  std::string x(offset, '\0');
  auto put = [&](size_t at, uint32_t value) {
    for (size_t i = 0; i < 4; ++i)
      x[at + i] = static_cast<char>(value >> (8 * i));
  };
  std::string row;
  for (auto left = width; left > 0;) {
    const auto run = std::min<uint32_t>(left, 255);
    row += {static_cast<char>(run), '\7'};
    left -= run;
  }
  for (uint32_t y = 0; y < height; ++y)
    x += row + (y + 1 < height ? std::string{"\0\0", 2} : std::string{"\0\1", 2});
  put(0, 0x4d42); // "BM"
  put(2, static_cast<uint32_t>(x.size()));
  put(10, offset);
  put(14, 40);
  put(18, width);
  put(22, height);
  put(26, 1 | 8 << 16); // planes, bits
  put(30, 1);           // run lengths of 8 bits
  put(34, static_cast<uint32_t>(x.size()) - offset);
  put(46, 256);
  for (uint32_t i = 0; i < 256; ++i)
    put(54 + 4 * i, i * 0x010101);
  return x;
}

void submit_large(stage& x, size_t count, const std::string& prefix, uint32_t width,
                  uint32_t height) {
  const auto image = bitmap_of_runs(width, height);
  std::vector<messaging::outgoing> records;
  for (size_t i = 0; i < count; ++i) {
    const auto key = prefix + "-" + std::to_string(i);
    x.expect(key);
    records.push_back(job_record(key, image));
  }
  x.submit(std::move(records));
}

void expect_no_worker_was_touched(const stage& x) {
  for (const auto* type :
       {"worker_replaced", "worker_killed", "worker_died", "breaker_opened", "leak_confirmed"})
    EXPECT_TRUE(x.events(type).empty()) << x.events(type).front();
}

} // namespace

TEST(LargeImages, AsLargeAsTheDefaultsAdmitCostNoWorker) {
  stage x{shared_broker()};
  auto s = x.serve();
  s.await_workers(2, 1);
  for (auto round = 0; round < 4; ++round) {
    const auto number = std::to_string(round);
    x.submit_digits(20, "small-" + number);
    submit_large(x, 6, "photo-" + number, 6000 - 8 * static_cast<uint32_t>(round), 4000);
    submit_large(x, 1, "large-" + number, 9990, 9990);
  }
  ASSERT_TRUE(x.read_all_answers(std::chrono::seconds{300})) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 4u * (20 + 6 + 1));
  for (const auto& r : x.results())
    EXPECT_EQ(r.document.at("attempt"), 1) << r.document;
  EXPECT_EQ(s.stop(), 0) << s.log();
  x.read_event("service_stopped");
  expect_no_worker_was_touched(x);
}

TEST(LargeImages, LargerThanWhatFitsAreRefusedAtNoWorkersCost) {
  stage x{shared_broker()};
  auto s = x.serve(
    {{"memory", {{"worker_budget_bytes", "42MiB"}, {"worker_hard_limit_bytes", "63MiB"}}}});
  s.await_workers(2, 1);
  submit_large(x, 3, "photo", 6000, 4000);
  x.submit_digits(40);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  EXPECT_EQ(x.results().size(), 40u);
  ASSERT_EQ(x.dead_letters().size(), 3u);
  for (const auto& d : x.dead_letters())
    EXPECT_EQ(header(d, "__connect.errors.exception.class.name"), "image_too_large");
  EXPECT_EQ(s.stop(), 0) << s.log();
  x.read_event("service_stopped");
  expect_no_worker_was_touched(x);
}
