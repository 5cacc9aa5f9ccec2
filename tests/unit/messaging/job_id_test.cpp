#include "messaging/job_id.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

using namespace ziyu;
using namespace ziyu::messaging;

namespace {

/// As Java's LongSerializer writes it.
std::string java_long(uint64_t x) {
  std::string result;
  for (int shift = 56; shift >= 0; shift -= 8)
    result += static_cast<char>(x >> shift);
  return result;
}

std::string id_of(std::optional<std::string> key, int64_t offset = 77) {
  record x;
  x.id = {"image.jobs", 2, offset};
  x.key = std::move(key);
  return job_id_of(x);
}

} // namespace

TEST(JobId, ATextIsItsOwnId) {
  for (const auto* text :
       {"a", "job-7", "照片-1.jpg", "é", "a b", "🙂", "hex", "hexagon", "HEX:00"}) {
    EXPECT_EQ(id_of_key(text), text);
    EXPECT_EQ(key_of_id(text), text);
  }
}

TEST(JobId, BytesThatNobodyCanReadAreWrittenInHexadecimal) {
  EXPECT_EQ(id_of_key(java_long(128)), "hex:0000000000000080");
  EXPECT_EQ(id_of_key(java_long(65)), "hex:0000000000000041") << "UTF-8, but with NUL";
  EXPECT_EQ(id_of_key("a\nb"), "hex:610a62");
  EXPECT_EQ(id_of_key("\x7f"), "hex:7f");
  EXPECT_EQ(id_of_key("\xc2\x85"), "hex:c285") << "a control character beyond ASCII";
  EXPECT_EQ(id_of_key("\xc2\xa0"), "\xc2\xa0");
  EXPECT_EQ(id_of_key("照\xe7\x85"), "hex:e785a7e785");
  EXPECT_EQ(id_of_key("\xef\xbf\xbd"), "\xef\xbf\xbd") << "U+FFFD stands for itself only";
}

TEST(JobId, ATextThatLooksLikeHexadecimalDoesNotStandForThoseBytes) {
  const std::string bytes = java_long(128), text = "hex:0000000000000080";
  EXPECT_NE(id_of_key(bytes), id_of_key(text));
  EXPECT_EQ(key_of_id(id_of_key(text)), text);
  EXPECT_EQ(key_of_id(id_of_key(bytes)), bytes);
}

TEST(JobId, WhatIsNoIdHasNoKey) {
  for (const auto* text : {"", "hex:0", "hex:0G", "hex:AB", "hex:zz", "a\nb", "\xff"})
    EXPECT_FALSE(key_of_id(text)) << text;
}

TEST(JobId, WithoutAKeyARecordIsCalledAfterItsPlace) {
  EXPECT_EQ(id_of(std::nullopt), "image.jobs-2-77");
  EXPECT_EQ(id_of(""), "image.jobs-2-77") << "an id that all jobs share would be none";
}

TEST(JobId, AKeyThatLooksLikeAPlaceDoesNotStandForThatRecord) {
  EXPECT_NE(id_of("image.jobs-2-77", 3), id_of(std::nullopt, 77));
  EXPECT_EQ(key_of_id(id_of("image.jobs-2-77", 3)), "image.jobs-2-77");
  EXPECT_EQ(id_of("image.jobs-2"), "image.jobs-2");
  EXPECT_EQ(id_of("other.jobs-2-77"), "other.jobs-2-77") << "no record of this topic";
  EXPECT_EQ(id_of("image.jobs-2-x"), "image.jobs-2-x");
}

TEST(JobIdProperty, IsUniqueAndReversibleForAnyBytes) {
  std::mt19937 random{20261129};
  std::map<std::string, std::string> keys; // by id
  const std::string alphabet[] = {
    std::string(1, '\0'), "hex:", "h", "0",           "80", "\xef\xbf\xbd", "\xff", "照",
    "\xe7\x85",           "a",    "-", "image.jobs-", "\n", "\x80"};
  for (int i = 0; i < 100'000; ++i) {
    std::string key;
    // Bytes of any value, and mixtures of what could be taken for each other.
    for (auto n = 1 + random() % 8; n > 0; --n)
      if (i % 2 == 0)
        key += static_cast<char>(random());
      else
        key += alphabet[random() % std::size(alphabet)];
    const auto id = id_of(key);
    ASSERT_TRUE(is_utf8(id));
    ASSERT_EQ(key_of_id(id), key) << id;
    const auto [at, fresh] = keys.emplace(id, key);
    ASSERT_TRUE(fresh || at->second == key) << id;
    ASSERT_NE(id, id_of(std::nullopt));
  }
}
