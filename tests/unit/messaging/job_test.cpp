#include "messaging/job.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

using namespace ziyu;
using namespace ziyu::messaging;
namespace fs = std::filesystem;

namespace {

/// Bytes that are no text and do not look like JSON.
const std::string image{"\x89PNG\r\n\x1a\n\0\xff\xfe", 11};

record make_record(std::optional<std::string> value, std::optional<std::string> key = {},
                   header_list headers = {}) {
  record x;
  x.id = {"image.jobs", 2, 77};
  x.epoch = 5;
  x.key = std::move(key);
  if (value)
    x.value = std::make_shared<const std::string>(std::move(*value));
  x.headers = std::move(headers);
  return x;
}

expected<job> decode(std::string value, header_list headers = {}, const job_limits& limits = {}) {
  return decode_job(make_record(std::move(value), "k", std::move(headers)), limits);
}

/// The error of a value that must be refused.
error refused(std::string value, header_list headers = {}, const job_limits& limits = {}) {
  auto x = decode(std::move(value), std::move(headers), limits);
  EXPECT_FALSE(x) << "accepted";
  return x ? error{errc::stopping, ""} : x.error();
}

} // namespace

TEST(RawJob, IsTheRecordsValueWithoutACopy) {
  const auto source = make_record(image, "照片-1", {{"traceparent", "00-ab-cd-01"}});
  const auto x = decode_job(source, {});
  ASSERT_TRUE(x) << x.error().describe();
  EXPECT_EQ(x->id, "照片-1");
  EXPECT_EQ(*x->image, image);
  EXPECT_EQ(x->image, source.value) << "shared";
  EXPECT_EQ(x->source.id, source.id);
  EXPECT_EQ(x->source.epoch, 5u);
  EXPECT_EQ(x->source.headers, source.headers);
  EXPECT_EQ(x->bytes(), source.bytes()) << "the image counts once";
  EXPECT_EQ(x->fault, "");
}

TEST(RawJob, WithoutAKeyIsCalledAfterItsRecord) {
  EXPECT_EQ(decode_job(make_record(image), {})->id, "image.jobs-2-77");
  EXPECT_EQ(decode_job(make_record(image, ""), {})->id, "image.jobs-2-77");
  EXPECT_EQ(job_id_of(make_record(std::nullopt)), "image.jobs-2-77");
}

TEST(RawJob, MayBeAsLargeAsTheLimitAndNoLarger) {
  job_limits limits;
  limits.max_bytes = 1000;
  EXPECT_TRUE(decode(std::string(1000, 'x'), {}, limits));
  const auto by = refused(std::string(1001, 'x'), {}, limits);
  EXPECT_EQ(by.code, errc::job_too_large);
  EXPECT_EQ(by.message, "the image has 1001 bytes, jobs.max_bytes is 1000");
}

TEST(RawJob, WithMoreHeadersThanAreReadIsRefused) {
  auto source = make_record(image, "key");
  source.headers = {{"a", "b"}, {"ziyu-headers-unread", "50000"}};
  const auto x = decode_job(source, {});
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::job_too_large);
  EXPECT_EQ(x.error().message, "the record has more than 10000 headers");
}

TEST(RawJob, ThatIsNothing) {
  const auto tombstone = decode_job(make_record(std::nullopt, "k"), {});
  ASSERT_FALSE(tombstone);
  EXPECT_EQ(tombstone.error().code, errc::tombstone);
  EXPECT_EQ(refused("").code, errc::empty_image);
}

TEST(RawJob, TextThatIsNotAnObjectIsTakenForAnImage) {
  for (auto text : {"[1, 2]", "\"image\"", "hello", " \n\t", "\xef\xbb\xbf", "\xef\xbb\xbf[]"})
    EXPECT_TRUE(decode(text)) << text; // the decoder will say that it is none
}

TEST(RawJob, KeyAndHeadersStayAsTheyAreToTheByte) {
  const auto source = make_record(image, "照\xe7\x85", {{"na\xffme", "va\xc0lue"}, {"x", {}}});
  auto x = decode_job(source, {});
  ASSERT_TRUE(x);
  EXPECT_EQ(x->id, "hex:e785a7e785");
  EXPECT_EQ(x->source.key, source.key);
  EXPECT_EQ(x->source.headers, source.headers);
}

TEST(RawJob, IsPlainUnlessItIsJsonOrPointsElsewhere) {
  EXPECT_TRUE(is_plain_image(make_record(image)));
  EXPECT_FALSE(is_plain_image(make_record(R"( {"image": ""})")));
  EXPECT_FALSE(is_plain_image(make_record(image, "k", {{"content-type", "application/json"}})));
  EXPECT_FALSE(is_plain_image(make_record("", "k", {{"ce_dataref", "file:/x"}})));
  EXPECT_FALSE(is_plain_image(make_record(std::nullopt)));
}

TEST(Job, TheHeaderNamesAFault) {
  EXPECT_EQ(decode(image, {{"ziyu-fault", "crash"}})->fault, "crash");
  EXPECT_EQ(decode(image, {{"ziyu-fault", "crash"}, {"ziyu-fault", "slow:5"}})->fault, "slow:5");
}

TEST(JsonJob, HoldsAnImageAndItsOwnId) {
  const auto source = make_record(R"({"schema": "ziyu.job.v1", "job_id": "猫-七", "image": ")"
                                    + base64_encode(image) + R"(", "note": {"any": [1]}})",
                                  "key");
  const auto x = decode_job(source, {});
  ASSERT_TRUE(x) << x.error().describe();
  EXPECT_EQ(x->id, "猫-七");
  EXPECT_EQ(*x->image, image);
  EXPECT_EQ(x->bytes(), source.bytes() + image.size()) << "both are held";
  EXPECT_EQ(x->source.value, source.value) << "the payload stays as it came";
}

TEST(JsonJob, ItsIdDoesNotStandForTheBytesOfAKeyOrForAPlace) {
  const auto id_of = [](const std::string& job_id) {
    const auto x = decode(R"({"image":"AAAA","job_id":")" + job_id + "\"}");
    EXPECT_TRUE(x) << job_id;
    return x ? x->id : "";
  };
  EXPECT_EQ(id_of("a"), "a");
  EXPECT_EQ(key_of_id(id_of("hex:80")), "hex:80");
  EXPECT_EQ(key_of_id(id_of("image.jobs-2-78")), "image.jobs-2-78");
  EXPECT_NE(id_of("image.jobs-2-78"), "image.jobs-2-78");
  EXPECT_EQ(key_of_id(id_of("a\\u0000b")), std::string("a\0b", 3));
}

TEST(JsonJob, NeedsNothingButTheImage) {
  const auto x = decode("{\"image\":\"" + base64_encode(image) + "\"}");
  ASSERT_TRUE(x) << x.error().describe();
  EXPECT_EQ(x->id, "k");
  EXPECT_EQ(*x->image, image);
}

TEST(JsonJob, IsRecognisedAfterSpaceAndAByteOrderMark) {
  const auto text = "{\"image\":\"" + base64_encode(image) + "\"}";
  for (const auto& before : {" \r\n\t", "\xef\xbb\xbf", "\xef\xbb\xbf \n"}) {
    const auto x = decode(before + text);
    ASSERT_TRUE(x) << before << ": " << x.error().describe();
    EXPECT_EQ(*x->image, image) << before;
  }
}

TEST(JsonJob, TheContentTypeForcesJson) {
  const header_list json{{"content-type", "application/json; charset=utf-8"}};
  EXPECT_EQ(refused("[1]", json).code, errc::unknown_schema);
  EXPECT_EQ(refused(image, json).code, errc::unknown_schema);
  EXPECT_TRUE(decode("{\"image\":\"" + base64_encode(image) + "\"}", json));
  EXPECT_TRUE(decode(image, {{"content-type", "image/png"}}));
}

TEST(JsonJob, OfAnotherShapeIsRefusedWithTheReason) {
  const std::pair<std::string, errc> cases[] = {
    {R"({"schema": "ziyu.job.v2", "image": "AAAA"})", errc::unknown_schema},
    {R"({"schema": 1, "image": "AAAA"})", errc::unknown_schema},
    {R"({"schema": null, "image": "AAAA"})", errc::unknown_schema},
    {R"({"schema": ["ziyu.job.v1"], "image": "AAAA"})", errc::unknown_schema},
    {R"({"job_id": 7, "image": "AAAA"})", errc::unknown_schema},
    {R"({"job_id": "", "image": "AAAA"})", errc::unknown_schema},
    {R"({"job_id": "a"})", errc::missing_field},
    {R"({})", errc::missing_field},
    {R"({"image": null})", errc::unknown_schema},
    {R"({"image": {"data": "AAAA"}})", errc::unknown_schema},
    {R"({"image": ["AAAA"]})", errc::unknown_schema},
    {R"({"image" "AAAA"})", errc::unknown_schema},
    {R"({"image"::"AAAA"})", errc::unknown_schema},
    {R"({"image": x"AAAA"})", errc::unknown_schema},
    {R"({"image": "AAAA)", errc::unknown_schema},
    {"{\"image\": \"AA\nAA\"}", errc::unknown_schema},
    {std::string{"{\"image\": \"AA\0AA\"}", 18}, errc::unknown_schema},
    {R"({"image": ""})", errc::empty_image},
    {R"({"image": " \n"})", errc::empty_image},
    {R"({"image": "AAAA")", errc::unknown_schema},
    {R"({"image": "AAAA"} x)", errc::unknown_schema},
    {R"({image: "AAAA"})", errc::unknown_schema},
    {"{\"image\": \"\xff\"}", errc::unknown_schema},
    {R"({"image": "\ud800"})", errc::unknown_schema},
    {R"({"image": "AAAA", "image": "BBBB"})", errc::unknown_schema},
    {R"({"job_id": "a", "image": "AAAA", "job_id": "b"})", errc::unknown_schema},
    {R"({"note": {"image": "AAAA"}})", errc::missing_field},
  };
  for (const auto& [text, code] : cases) {
    const auto by = refused(text);
    EXPECT_EQ(by.code, code) << text << " -> " << by.describe();
    EXPECT_TRUE(is_bad_input(by.code)) << text;
    EXPECT_TRUE(is_utf8(by.message)) << text;
    EXPECT_FALSE(by.message.empty()) << text;
  }
  EXPECT_EQ(refused(cases[0].first).message, "schema is \"ziyu.job.v2\", known is \"ziyu.job.v1\"");
}

TEST(JsonJob, WhatIsNoJsonIsRefusedWithThePlaceAndTheReason) {
  const auto message = [](const std::string& text) { return refused(text).message; };
  EXPECT_EQ(message(R"({"image": "AAAA"} x)"),
            "the value begins like JSON but is none: at byte 19: invalid literal");
  EXPECT_NE(message(R"({"x": 1e999999, "image": "AAAA"})").find("out of range"), std::string::npos);
  EXPECT_LT(message("{\"x\": " + std::string(100'000, '9') + "}").size(), 200u);
  EXPECT_LT(message("{\"x\": \"" + std::string(100'000, 'x') + "\x01\"}").size(), 400u);
  const auto called = refused("\x89PNG", {{"Content-Type", "Application/JSON; charset=utf-8"}});
  EXPECT_TRUE(
    called.message.starts_with("the header content-type says JSON, but the value is none"))
    << called.message;
}

TEST(JsonJob, ThatEndsInAZeroIsRefusedAndNotReadUpToIt) {
  for (const auto& behind : {std::string(1, '\0'), std::string{"\0{\"image\":\"BBBB\"}", 17}}) {
    const auto by = refused(R"({"image":"AAAA"})" + behind);
    EXPECT_EQ(by.code, errc::unknown_schema);
    EXPECT_NE(by.message.find("byte 17: a zero byte"), std::string::npos) << by.message;
  }
}

TEST(JsonJob, AUrlInPlaceOfBase64IsNamed) {
  EXPECT_NE(refused(R"({"image":"data:image/png;base64,AAAA"})").message.find("data: URL"),
            std::string::npos);
  EXPECT_NE(refused(R"({"image":"https://example.com/a.png"})").message.find("a URL"),
            std::string::npos);
}

TEST(JsonJob, Base64MayBeUrlSafeUnpaddedAndWrapped) {
  const std::string bytes = "\xfb\xff\xbf~~??";
  for (auto text : {"+/+/fn4/Pw==", "-_-_fn4_Pw==", "-_-_fn4_Pw", "+/+/ fn4/ Pw==",
                    "+/+/\\r\\nfn4/\\r\\nPw==\\n", "+\\/+\\/fn4\\/Pw\\u003d\\u003d"}) {
    const auto x = decode(std::string{"{\"image\":\""} + text + "\"}");
    ASSERT_TRUE(x) << text << ": " << x.error().describe();
    EXPECT_EQ(*x->image, bytes) << text;
  }
}

TEST(JsonJob, RubbishInBase64IsRefused) {
  for (auto text :
       {"A", "AAAAA", "AA=A", "AAA*", "AAAA====", "data:image/png;base64,AAAA", "图像"}) {
    const auto by = refused(std::string{"{\"image\":\""} + text + "\"}");
    EXPECT_EQ(by.code, errc::bad_base64) << text;
    EXPECT_EQ(by.message.substr(0, 7), "image: ") << by.message;
  }
}

TEST(JsonJob, TheLimitIsOfTheDecodedImage) {
  job_limits limits;
  limits.max_bytes = 300'000;
  const auto value = [](size_t bytes) {
    return "{\"image\":\"" + base64_encode(std::string(bytes, 'x')) + "\"}";
  };
  EXPECT_TRUE(decode(value(300'000), {}, limits));
  const auto by = refused(value(300'001), {}, limits);
  EXPECT_EQ(by.code, errc::job_too_large);
  EXPECT_EQ(by.message, "the image has 300001 bytes, jobs.max_bytes is 300000");
  EXPECT_EQ(refused(value(3'000'000), {}, limits).code, errc::job_too_large);
}

TEST(JsonJob, OfTooManyValuesIsRefused) {
  const auto of = [](size_t values) {
    std::string text = R"({"image":"AAAA","x":[{})";
    for (size_t i = 1; i < values; ++i)
      text += ",{}";
    return text + "]}";
  };
  EXPECT_TRUE(decode(of(99'990)));
  const auto by = refused(of(1'000'000));
  EXPECT_EQ(by.code, errc::unknown_schema);
  EXPECT_EQ(by.message, "the JSON has more than 100000 values");
}

TEST(JsonJob, DeepNestingIsRefused) {
  const auto nested = [](size_t depth) {
    return "{\"image\":\"AAAA\",\"x\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_TRUE(decode(nested(31)));
  for (auto depth : {32u, 1'000'000u}) {
    const auto by = refused(nested(depth));
    EXPECT_EQ(by.code, errc::unknown_schema);
    EXPECT_EQ(by.message, "the JSON is nested more than 32 deep");
  }
  EXPECT_EQ(refused("{\"image\":" + std::string(1'000'000, '{')).code, errc::unknown_schema)
    << "never closed";
  EXPECT_TRUE(decode(R"({"image":"AAAA","note":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"["})"))
    << "brackets in a text do not nest";
  EXPECT_TRUE(decode(R"({"image":"AAAA","note":{"image":7,"schema":1,"job_id":[]}})"))
    << "only the outermost object counts";
}

TEST(JsonJob, AnErrorNeverRepeatsAHugeValue) {
  const auto by = refused(R"({"image":"AAAA","schema":")" + std::string(1'000'000, 'x') + "\"}");
  EXPECT_EQ(by.code, errc::unknown_schema);
  EXPECT_LT(by.message.size(), 500u);
  std::string wide;
  for (int i = 0; i < 10'000; ++i)
    wide += "図";
  const auto other = refused(R"({"image":"AAAA","schema":")" + wide + "\"}");
  EXPECT_LT(other.message.size(), 500u);
  EXPECT_EQ(other.message.find("\xef\xbf\xbd"), std::string::npos) << "cut within a character";
}

// -- claim checks -----------------------------------------------------------------

class ClaimCheck : public ::testing::Test {
protected:
  void SetUp() override {
    fs::create_directories(root() / "照片");
    fs::create_directories(dir_.path() / "root-but-longer");
    ASSERT_TRUE(write_file(root() / "照片" / "a b.png", image));
    ASSERT_TRUE(write_file(dir_.path() / "secret", "secret"));
    ASSERT_TRUE(write_file(dir_.path() / "root-but-longer" / "x", "secret"));
    limits_.dataref_root = root().string();
  }

  fs::path root() const { return dir_.path() / "root"; }

  expected<job> fetch(const std::string& uri, std::optional<std::string> value = {}) {
    return decode_job(make_record(std::move(value), "k", {{"ce_dataref", uri}}), limits_);
  }

  errc code_of(const std::string& uri) {
    auto x = fetch(uri);
    EXPECT_FALSE(x) << uri;
    if (x)
      return errc::stopping;
    EXPECT_TRUE(is_utf8(x.error().message));
    EXPECT_EQ(x.error().message.find("secret\n"), std::string::npos);
    return x.error().code;
  }

  temp_dir dir_;
  job_limits limits_;
};

TEST_F(ClaimCheck, IsOffUnlessARootIsSet) {
  limits_.dataref_root.clear();
  const auto x = fetch("file:" + (root() / "照片/a b.png").string());
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::bad_dataref);
  EXPECT_NE(x.error().message.find("jobs.dataref_root is not set"), std::string::npos);
}

TEST_F(ClaimCheck, ReadsTheFileInAllSpellings) {
  const auto escaped = root().string() + "/%E7%85%a7%E7%89%87/a%20b.png";
  for (const auto& uri : {"file:" + escaped, "file://" + escaped, "file://localhost" + escaped,
                          "file:///" + escaped, "file:" + (root() / "照片/a b.png").string(),
                          "file:" + root().string() + "/./照片/../照片/a%20b.pn%67"}) {
    const auto x = fetch(uri);
    ASSERT_TRUE(x) << uri << ": " << x.error().describe();
    EXPECT_EQ(*x->image, image) << uri;
    EXPECT_EQ(x->id, "k");
    EXPECT_GE(x->bytes(), image.size()) << "counts though the record does not hold it";
  }
}

TEST_F(ClaimCheck, TheRootMayEndInASlashOrBeALink) {
  fs::create_directory_symlink(root(), dir_.path() / "link");
  for (const auto& text : {root().string() + "/", (dir_.path() / "link").string()}) {
    limits_.dataref_root = text;
    EXPECT_TRUE(fetch("file:" + (root() / "照片/a b.png").string())) << text;
  }
}

TEST_F(ClaimCheck, AnEmptyValueGoesForNone) {
  const auto uri = "file:" + (root() / "照片/a b.png").string();
  EXPECT_TRUE(fetch(uri, ""));
  EXPECT_EQ(*fetch(uri, "value")->image, "value") << "a value needs no claim check";
}

TEST_F(ClaimCheck, NothingOutsideOfTheRootIsRead) {
  fs::create_symlink(dir_.path() / "secret", root() / "link");
  fs::create_directory_symlink(dir_.path(), root() / "up");
  for (const auto& path :
       {dir_.path().string() + "/secret", root().string() + "/../secret",
        root().string() + "/%2e%2e/secret", root().string() + "/照片/../../secret",
        root().string() + "%2F..%2Fsecret", root().string() + "/link",
        root().string() + "/up/secret", dir_.path().string() + "/root-but-longer/x"}) {
    EXPECT_EQ(code_of("file:" + path), errc::bad_dataref) << path;
    const auto x = fetch("file:" + path);
    EXPECT_NE(x.error().message.find("is outside of jobs.dataref_root"), std::string::npos)
      << x.error().message;
  }
  EXPECT_EQ(code_of("file:/etc/passwd"), errc::bad_dataref);
}

TEST_F(ClaimCheck, LinksWithinTheRootAreFollowed) {
  fs::create_symlink(root() / "照片/a b.png", root() / "inner");
  EXPECT_TRUE(fetch("file:" + (root() / "inner").string()));
}

TEST_F(ClaimCheck, OtherUrisAreRefused) {
  const auto path = (root() / "照片/a b.png").string();
  const std::string uris[] = {"http://localhost" + path,
                              "https://example.org/x.png",
                              path,
                              "FILE:" + path,
                              "file:",
                              "file://",
                              "file://localhost",
                              "",
                              "s3://bucket/key",
                              "file:\xff"};
  for (const auto& uri : uris)
    EXPECT_EQ(code_of(uri), errc::bad_dataref) << uri;
  const auto other = fetch("file://otherhost" + path);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("another host"), std::string::npos);
}

TEST_F(ClaimCheck, BrokenEscapesAndHiddenZerosAreRefused) {
  const auto path = (root() / "照片/a b.png").string();
  for (auto tail : {"%", "%4", "%zz", "%4g", "%-1", "%00", "%00.png"})
    EXPECT_EQ(code_of("file:" + path + tail), errc::bad_dataref) << tail;
}

TEST_F(ClaimCheck, WhatIsNoFileIsRefused) {
  EXPECT_EQ(code_of("file:" + (root() / "absent").string()), errc::bad_dataref);
  EXPECT_EQ(code_of("file:" + root().string()), errc::bad_dataref) << "a folder";
  limits_.dataref_root = (dir_.path() / "no such root").string();
  EXPECT_EQ(code_of("file:" + (root() / "照片/a b.png").string()), errc::bad_dataref);
}

TEST_F(ClaimCheck, APipeIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(::mkfifo((root() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(code_of("file:" + (root() / "pipe").string()), errc::bad_dataref);
}

TEST_F(ClaimCheck, TheLimitHoldsForTheFile) {
  limits_.max_bytes = image.size();
  const auto uri = "file:" + (root() / "照片/a b.png").string();
  EXPECT_TRUE(fetch(uri));
  limits_.max_bytes = image.size() - 1;
  EXPECT_EQ(code_of(uri), errc::job_too_large);
  ASSERT_TRUE(write_file(root() / "empty", ""));
  EXPECT_EQ(code_of("file:" + (root() / "empty").string()), errc::empty_image);
}

TEST_F(ClaimCheck, AnErrorNeverRepeatsAHugeUri) {
  for (const auto& uri :
       {"http://" + std::string(1'000'000, 'x'), "file://" + std::string(1'000'000, 'x') + "/y",
        "file:/" + std::string(1'000'000, 'x')}) {
    const auto x = fetch(uri);
    ASSERT_FALSE(x);
    EXPECT_EQ(x.error().code, errc::bad_dataref);
    EXPECT_LT(x.error().message.size(), 500u);
  }
}
