#include "messaging/dead_letter.hpp"
#include "messaging/result.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

#include <map>

using namespace ziyu;
using namespace ziyu::messaging;
using nlohmann::json;

namespace {

result full_result() {
  result x;
  x.job_id = "照片-7";
  x.top_k = {{"金毛犬", 0.75, 207}, {"拉布拉多犬", 0.25, 208}};
  x.model = {"万物识别", "3", std::string(64, 'a'), "bf16"};
  x.slot = 2;
  x.generation = uint64_t{1} << 40;
  x.pid = 4711;
  x.queued_ms = 1.5;
  x.decode_ms = 2.25;
  x.preprocess_ms = 3.125;
  x.inference_ms = 4.0625;
  x.total_ms = 12;
  x.width = 4032;
  x.height = 3024;
  x.delta_bytes = -4392;
  x.live_bytes = uint64_t{1} << 33;
  x.private_bytes = 11'000'000;
  x.source = {"image.jobs", 2, int64_t{1} << 50};
  x.attempt = 3;
  x.duplicate_id = true;
  x.batch = 8;
  x.finished_ms = 1'700'000'000'000;
  return x;
}

std::map<std::string, std::string> by_name(const header_list& headers) {
  std::map<std::string, std::string> result;
  for (const auto& [name, value] : headers)
    result.emplace(name, value.value_or("(null)"));
  return result;
}

} // namespace

TEST(Result, RoundTripsThroughJsonText) {
  const auto wanted = full_result();
  const auto text = to_json_text(wanted);
  EXPECT_NE(text.find("\"label\":\"金毛犬\""), std::string::npos)
    << "people read it: no \\u escapes";
  const auto got = result_from_json(json::parse(text));
  ASSERT_TRUE(got) << got.error().describe();
  // Every field goes through: the second text is the first.
  EXPECT_EQ(to_json_text(*got), text);
  EXPECT_TRUE(got->ok);
  EXPECT_EQ(got->job_id, "照片-7");
  ASSERT_EQ(got->top_k.size(), 2u);
  EXPECT_EQ(got->top_k[1].label, "拉布拉多犬");
  EXPECT_EQ(got->top_k[1].confidence, 0.25);
  EXPECT_EQ(got->top_k[1].index, 208u);
  EXPECT_EQ(got->delta_bytes, -4392);
  EXPECT_EQ(got->source, wanted.source);
  EXPECT_EQ(got->generation, wanted.generation);
}

TEST(Result, IsJsonWhateverItsTextsAndNumbersAre) {
  auto x = full_result();
  x.job_id = std::string("\"\\\n\t\x01\x7f</script>\0 ", 17) + "\xff 自愈 \xf0\x9f\x98\x80";
  x.top_k = {{"", -1e-300, 0}, {"\u2028", 1e300, 4'294'967'295}, {"a\"b", 0.1f, 7}};
  x.delta_bytes = std::numeric_limits<int64_t>::min();
  x.live_bytes = std::numeric_limits<uint64_t>::max();
  x.queued_ms = 1.0 / 3;
  const auto text = to_json_text(x);
  EXPECT_EQ(text.find('\n'), std::string::npos) << "one line";
  const auto got = result_from_json(json::parse(text));
  ASSERT_TRUE(got) << got.error().describe();
  EXPECT_EQ(got->job_id,
            std::string("\"\\\n\t\x01\x7f</script>\0 ", 17) + "\xef\xbf\xbd 自愈 \xf0\x9f\x98\x80");
  ASSERT_EQ(got->top_k.size(), 3u);
  EXPECT_EQ(got->top_k[0].confidence, -1e-300);
  EXPECT_EQ(got->top_k[1].label, "\u2028");
  EXPECT_EQ(got->top_k[1].confidence, 1e300);
  EXPECT_EQ(got->top_k[1].index, 4'294'967'295);
  EXPECT_EQ(got->top_k[2].confidence, 0.1f);
  EXPECT_EQ(got->delta_bytes, x.delta_bytes);
  EXPECT_EQ(got->live_bytes, x.live_bytes);
  EXPECT_EQ(got->queued_ms, 1.0 / 3);
  EXPECT_EQ(text, json::parse(text).dump()) << "members in the order of their names";
}

TEST(Result, TheFirstOfTheTopIsTheLabel) {
  const auto document = json::parse(to_json_text(full_result()));
  EXPECT_EQ(document["label"], "金毛犬");
  EXPECT_EQ(document["confidence"], 0.75) << "its probability";
  EXPECT_EQ(document["status"], "ok");
  EXPECT_FALSE(document.contains("error"));
}

TEST(Result, AnErrorHasAReasonAndNoLabel) {
  auto x = full_result();
  x.ok = false;
  x.reason = {errc::undecodable_image, "不是图像"};
  const auto document = json::parse(to_json_text(x));
  EXPECT_EQ(document["status"], "error");
  EXPECT_EQ(document["error"]["code"], "undecodable_image");
  EXPECT_FALSE(document.contains("label"));
  EXPECT_FALSE(document.contains("top_k"));
  const auto got = result_from_json(json::parse(document.dump()));
  ASSERT_TRUE(got) << got.error().describe();
  EXPECT_FALSE(got->ok);
  EXPECT_EQ(got->reason.code, errc::undecodable_image);
  EXPECT_EQ(got->reason.message, "不是图像");
  EXPECT_TRUE(got->top_k.empty());
}

TEST(Result, WithoutAnyFieldOrWithAnotherTypeIsNone) {
  const auto good = json::parse(to_json_text(full_result()));
  for (const auto& item : good.items()) {
    if (item.key() == "label" || item.key() == "confidence")
      continue; // repeated from top_k for people
    auto damaged = good;
    damaged.erase(item.key());
    if (item.key() != "batch") { // results of earlier versions have none
      EXPECT_FALSE(result_from_json(damaged)) << "without " << item.key();
    }
    damaged[item.key()] = json::array({json::object()});
    EXPECT_FALSE(result_from_json(damaged)) << "with another " << item.key();
  }
}

TEST(Result, OfAnotherSchemaIsNone) {
  auto document = json::parse(to_json_text(full_result()));
  document["schema"] = "ziyu.result.v2";
  for (const auto& x : {document, json{}, json::array(), json(5), json("text"), json::object()}) {
    const auto got = result_from_json(x);
    ASSERT_FALSE(got) << x;
    EXPECT_EQ(got.error().code, errc::unknown_schema) << x;
  }
}

TEST(DeadLetter, SaysWhereItCameFromAndWhy) {
  record source;
  source.id = {"image.jobs", 2, 77};
  const auto headers = by_name(
    dead_letter_headers(source, {errc::bad_base64, "image: 不是"}, 3, 1'700'000'000'123));
  const std::map<std::string, std::string> wanted{
    {"__connect.errors.topic", "image.jobs"},
    {"__connect.errors.partition", "2"},
    {"__connect.errors.offset", "77"},
    {"__connect.errors.exception.class.name", "bad_base64"},
    {"__connect.errors.exception.message", "image: 不是"},
    {"ziyu-attempts", "3"},
    {"ziyu-dead-lettered-ms", "1700000000123"},
  };
  EXPECT_EQ(headers, wanted);
}

TEST(DeadLetter, ItsMessageIsUtf8WhateverTheReasonHolds) {
  const auto headers = by_name(
    dead_letter_headers({}, {errc::io, "file \xff\xfe 图\xe5\x9b"}, 1, 0));
  const auto message = headers.at("__connect.errors.exception.message");
  EXPECT_TRUE(is_utf8(message));
  EXPECT_EQ(message, "file \xef\xbf\xbd\xef\xbf\xbd 图\xef\xbf\xbd");
}

TEST(DeadLetter, ALongMessageIsCutBetweenCharacters) {
  // One, two or three bytes before the wide ones: every place of the cut.
  for (std::string start : {"", "a", "ab"}) {
    auto text = start;
    for (int i = 0; i < 100'000; ++i)
      text += "图";
    const auto headers = by_name(dead_letter_headers({}, {errc::io, text}, 1, 0));
    const auto message = headers.at("__connect.errors.exception.message");
    EXPECT_TRUE(is_utf8(message));
    EXPECT_EQ(message.find("\xef\xbf\xbd"), std::string::npos) << "a character was cut";
    EXPECT_LE(message.size(), 1024u);
    EXPECT_GT(message.size(), 1000u);
    EXPECT_TRUE(message.ends_with("图…"));
    EXPECT_TRUE(message.starts_with(start + "图"));
  }
  const std::string fits(1024, 'x');
  EXPECT_EQ(by_name(dead_letter_headers({}, {errc::io, fits}, 1, 0))
              .at("__connect.errors.exception.message"),
            fits);
}
