// What reading a job costs in memory, by the operators of this program.

#include "messaging/job.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

using namespace ziyu;
using namespace ziyu::messaging;

namespace {

std::atomic<size_t> live{0}, peak{0};

void* count(void* x) {
  if (x == nullptr)
    throw std::bad_alloc{};
  const auto now = live += ::malloc_usable_size(x);
  auto seen = peak.load();
  while (seen < now && !peak.compare_exchange_weak(seen, now)) {
    // another thread has moved it
  }
  return x;
}

void forget(void* x) {
  live -= ::malloc_usable_size(x);
  std::free(x);
}

/// The most that `decode_job` holds at a time, in bytes beyond the record.
size_t cost_of(std::string value, errc* code = nullptr) {
  record x;
  x.id = {"image.jobs", 0, 1};
  x.value = std::make_shared<const std::string>(std::move(value));
  job_limits limits;
  limits.max_bytes = 64u << 20;
  const auto before = live.load();
  peak = before;
  const auto result = decode_job(x, limits);
  if (code != nullptr)
    *code = result ? errc::stopping : result.error().code;
  return peak - before;
}

std::string repeated(const std::string& before, const std::string& x, size_t bytes,
                     const std::string& after) {
  auto result = before;
  while (result.size() < bytes)
    result += x;
  return result + after;
}

constexpr size_t mib = 1u << 20;

} // namespace

void* operator new(size_t n) { return count(std::malloc(n)); }
void* operator new[](size_t n) { return count(std::malloc(n)); }
void operator delete(void* x) noexcept { forget(x); }
void operator delete[](void* x) noexcept { forget(x); }
void operator delete(void* x, size_t) noexcept { forget(x); }
void operator delete[](void* x, size_t) noexcept { forget(x); }

TEST(JobMemory, ADocumentOfManyValuesIsNotExpanded) {
  for (const auto* value : {"{},", "[],", "0,", "null,", "{\"a\":1},", "\"\","}) {
    auto code = errc::stopping;
    const auto text = repeated("{\"image\":\"\",\"x\":[", value, 15 * mib, "0]}");
    EXPECT_LT(cost_of(text, &code), mib) << value;
    EXPECT_EQ(code, errc::unknown_schema) << value;
  }
}

TEST(JobMemory, ADocumentOfManyFieldsIsNotExpanded) {
  EXPECT_LT(cost_of(repeated("{\"image\":\"\"", ",\"a\":0", 15 * mib, "}")), mib);
  EXPECT_LT(cost_of(repeated("{\"image\":\"\"", ",\"a\":{\"b\":[0]}", 15 * mib, "}")), mib);
}

TEST(JobMemory, DeepDocumentsAreNotFollowed) {
  EXPECT_LT(cost_of(std::string(15 * mib, '[')), mib);
  EXPECT_LT(cost_of(repeated("", "{\"a\":", 15 * mib, "")), mib);
}

TEST(JobMemory, ALongTextCostsAFewTimesItsLength) {
  const auto text = repeated("{\"image\":\"AAAA\",\"note\":\"", "abcdefgh", 15 * mib, "\"}");
  EXPECT_LT(cost_of(text), 5 * text.size());
  EXPECT_LT(cost_of(repeated("{\"image\":\"AAAA\",\"", "abcdefgh", 15 * mib, "\":0}")),
            5 * text.size());
}

TEST(JobMemory, AnImageIsDecodedStraightIntoItsJob) {
  const auto text = "{\"image\":\"" + base64_encode(std::string(12 * mib, 'x')) + "\"}";
  auto code = errc::io;
  EXPECT_LT(cost_of(text, &code), 13 * mib);
  EXPECT_EQ(code, errc::stopping) << "it is a job";
}

// As PHP escapes a slash.
TEST(JobMemory, AnImageCostsAFewTimesItsText) {
  const auto text = "{\"image\":\"\\/\\/\\/\\/" + base64_encode(std::string(12 * mib, 'x')) + "\"}";
  auto code = errc::io;
  EXPECT_LT(cost_of(text, &code), 6 * text.size());
  EXPECT_EQ(code, errc::stopping) << "it is a job";
}

TEST(JobMemory, APlainImageCostsNothing) {
  EXPECT_LT(cost_of(std::string(15 * mib, '\x89')), 4096u);
}
