// Whatever is submitted, good images get results. The others become dead letters that say why and
// keep the record's content.

#include "base/text.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

namespace {

constexpr uint64_t max_bytes = 300'000;

struct input {
  std::string name;
  messaging::outgoing record;
  std::string code; ///< Of its dead letter; empty: it gets a result.
  int width = 0, height = 0;
};

std::string data(const std::string& name) {
  return must(read_file(source_file("tests/data/" + name)));
}

/// `record` as it must look as a dead letter for this reason.
void expect_dead_letter(const input& sent, const messaging::record_id& where,
                        const messaging::record& x) {
  SCOPED_TRACE(sent.name);
  EXPECT_EQ(x.key, sent.record.key);
  EXPECT_EQ(x.value ? std::optional{*x.value} : std::nullopt, sent.record.value);
  ASSERT_GE(x.headers.size(), sent.record.headers.size());
  EXPECT_TRUE(
    std::equal(sent.record.headers.begin(), sent.record.headers.end(), x.headers.begin()));
  EXPECT_EQ(header(x, "__connect.errors.topic"), where.topic);
  EXPECT_EQ(header(x, "__connect.errors.partition"), std::to_string(where.partition));
  EXPECT_EQ(header(x, "__connect.errors.offset"), std::to_string(where.offset));
  EXPECT_EQ(header(x, "__connect.errors.exception.class.name"), sent.code);
  EXPECT_GT(header(x, "__connect.errors.exception.message").size(), 8u);
  EXPECT_TRUE(is_utf8(header(x, "__connect.errors.exception.message")));
  // Another attempt would not help.
  EXPECT_THAT(header(x, "ziyu-attempts"), testing::AnyOf("0", "1"));
}

/// Submits all and checks each outcome, found by the record's place.
void expect_outcomes(std::vector<input> inputs) {
  stage x{shared_broker()};
  auto s = x.serve({{"jobs", {{"max_bytes", max_bytes}}}});
  std::vector<messaging::outgoing> records;
  for (const auto& i : inputs)
    records.push_back(i.record);
  const auto places = x.submit(std::move(records));
  ASSERT_TRUE(
    x.read_until([&] { return x.results().size() + x.dead_letters().size() >= inputs.size(); }))
    << x.account() << s.log();
  std::map<messaging::record_id, const messaging::record*> dead;
  for (const auto& d : x.dead_letters())
    dead[{header(d, "__connect.errors.topic"),
          std::atoi(header(d, "__connect.errors.partition").c_str()),
          std::atoll(header(d, "__connect.errors.offset").c_str())}] = &d;
  std::map<messaging::record_id, const result_record*> good;
  for (const auto& r : x.results()) {
    const auto& source = r.document.at("source");
    good[{source.at("topic"), source.at("partition"), source.at("offset")}] = &r;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const auto& sent = inputs[i];
    SCOPED_TRACE(sent.name);
    const auto d = dead.find(places[i]);
    const auto g = good.find(places[i]);
    if (sent.code.empty()) {
      ASSERT_NE(g, good.end()) << (d == dead.end()
                                     ? "no answer"
                                     : header(*d->second, "__connect.errors.exception.message"));
      const auto& document = g->second->document;
      EXPECT_EQ(document.at("image").at("width"), sent.width);
      EXPECT_EQ(document.at("image").at("height"), sent.height);
      EXPECT_EQ(document.at("attempt"), 1);
    } else {
      ASSERT_NE(d, dead.end()) << (g == good.end() ? "no answer" : g->second->document.dump());
      expect_dead_letter(sent, places[i], *d->second);
    }
    EXPECT_NE(d == dead.end(), g == good.end()) << "one answer each";
  }
  EXPECT_EQ(x.results().size() + x.dead_letters().size(), inputs.size());
  // Bad input ends no worker.
  EXPECT_TRUE(x.events("worker_died").empty());
  EXPECT_TRUE(x.events("worker_replaced").empty());
  expect_all_accounted(x, s);
  const auto total = s.get_json("/ledger").at("total");
  EXPECT_EQ(total.at("published"), x.results().size());
  EXPECT_EQ(total.at("dead_lettered"), x.dead_letters().size());
  EXPECT_EQ(s.stop(), 0) << s.log();
  EXPECT_TRUE(x.read_event("service_stopped"));
  EXPECT_EQ(x.events("dead_lettered").size(), x.dead_letters().size());
}

} // namespace

TEST(BadInput, FilesThatAreNoImagesAreDeadLetters) {
  std::vector<input> inputs;
  const auto expected = json::parse(data("bad/expected.json"));
  for (const auto& [name, truth] : expected.items())
    inputs.push_back({name,
                      job_record(name, data("bad/" + name),
                                 {{"traceparent", "00-1-2-01"}, {"x-unknown", "\xe5\x80\xbc"}}),
                      truth.at("error"), 0, 0});
  ASSERT_GE(inputs.size(), 10u);
  // Between good jobs, without keys: their ids are their places.
  for (size_t i = 0; i < 20; ++i) {
    inputs.push_back({digits()[i].file, job_record({}, digits()[i].bytes), "", 0, 0});
    // PNG: the size is big-endian at bytes 16 and 20.
    const auto& bytes = digits()[i].bytes;
    inputs.back().width = static_cast<uint8_t>(bytes[18]) * 256 + static_cast<uint8_t>(bytes[19]);
    inputs.back().height = static_cast<uint8_t>(bytes[22]) * 256 + static_cast<uint8_t>(bytes[23]);
  }
  expect_outcomes(std::move(inputs));
}

TEST(BadInput, EveryKindOfImageIsClassifiedUpright) {
  std::vector<input> inputs;
  const auto expected = json::parse(data("images/expected.json"));
  for (const auto& [name, truth] : expected.items())
    inputs.push_back(
      {name, job_record(name, data("images/" + name)), "", truth.at("width"), truth.at("height")});
  ASSERT_GE(inputs.size(), 25u);
  expect_outcomes(std::move(inputs));
}

TEST(BadInput, JsonThatIsNoJobIsADeadLetter) {
  const auto image = base64_encode(digits()[0].bytes);
  const messaging::header_list as_json{{"content-type", "application/json"}};
  auto text = [](json x) { return x.dump(); };
  const std::string broken = R"({"job_id": "x", "image")";
  std::vector<input> inputs{
    {"unknown schema", job_record("a", text({{"schema", "ziyu.job.v9"}, {"image", image}})),
     "unknown_schema"},
    {"not an object", job_record("b", "[1, 2, 3]", as_json), "unknown_schema"},
    {"broken", job_record("c", broken), "unknown_schema"},
    {"deeply nested",
     job_record("d", "{\"a\":" + std::string(5000, '[') + std::string(5000, ']') + "}"),
     "unknown_schema"},
    {"no image", job_record("e", text({{"job_id", "e"}})), "missing_field"},
    {"image is a number", job_record("f", text({{"image", 7}})), "unknown_schema"},
    {"base64 rubbish", job_record("g", text({{"image", "!!!not base64!!!"}})), "bad_base64"},
    {"cut base64", job_record("h", text({{"image", image.substr(0, 401)}})), "bad_base64"},
    {"base64 of no image", job_record("i", text({{"image", base64_encode("hello")}})),
     "undecodable_image"},
    {"empty image", job_record("j", text({{"image", ""}})), "empty_image"},
    {"empty id", job_record("k", text({{"job_id", ""}, {"image", image}})), "unknown_schema"},
    {"larger than the limit, raw", job_record("l", std::string(max_bytes + 1, '\x89')),
     "job_too_large"},
    {"larger than the limit, JSON",
     job_record("m", text({{"image", base64_encode(std::string(max_bytes + 1, 'x'))}})),
     "job_too_large"},
    {"tombstone", job_record("n", {}, {{"x-unknown", "kept"}}), "tombstone"},
    {"tombstone without a key", job_record({}, {}), "tombstone"},
    {"no bytes", job_record("o", ""), "empty_image"},
    {"a claim check, which is off", job_record("p", {}, {{"ce_dataref", "file:///etc/passwd"}}),
     "bad_dataref"},
  };
  expect_outcomes(std::move(inputs));
}

TEST(BadInput, ADuplicateJobIdGetsItsOwnResultWithAFlag) {
  stage x{shared_broker()};
  auto s = x.serve();
  x.submit({job_record("twice", digits()[0].bytes), job_record("once", digits()[1].bytes)});
  ASSERT_TRUE(x.read_until([&] { return x.results().size() == 2; })) << s.log();
  x.submit({job_record("twice", digits()[2].bytes)});
  ASSERT_TRUE(x.read_until([&] { return x.results().size() == 3; })) << s.log();
  const auto both = x.results_of("twice");
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].document.at("duplicate_id"), false);
  EXPECT_EQ(both[0].document.at("label"), digits()[0].label);
  EXPECT_EQ(both[1].document.at("duplicate_id"), true);
  EXPECT_EQ(both[1].document.at("label"), digits()[2].label);
  EXPECT_EQ(x.results_of("once").front().document.at("duplicate_id"), false);
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(BadInput, OddKeysAndHeadersComeBackAsTheyWere) {
  stage x{shared_broker()};
  auto s = x.serve();
  const std::string rubbish = "\xff\xfe\x80 caf\xe9";
  const messaging::header_list headers{
    {"x-\xff", "value"}, {"latin", rubbish}, {"null", std::nullopt}};
  x.submit({job_record(rubbish, digits()[0].bytes, headers),
            job_record(rubbish, "no image at all", headers),
            job_record("json", "{\"job_id\": \"\xff\xfe\", \"image\": \"\"}")});
  ASSERT_TRUE(x.read_until([&] { return x.results().size() == 1 && x.dead_letters().size() == 2; }))
    << x.account() << s.log();
  const auto& good = x.results().front();
  EXPECT_EQ(good.job_id(), "hex:fffe8020636166e9");
  EXPECT_EQ(good.raw.key, rubbish);
  EXPECT_EQ(good.document.at("label"), digits()[0].label);
  EXPECT_EQ(header(good.raw, "latin"), rubbish);
  EXPECT_EQ(header(good.raw, "x-\xff"), "value");
  EXPECT_EQ(good.raw.headers.at(2), headers[2]);
  for (const auto& d : x.dead_letters())
    if (d.key == rubbish) {
      EXPECT_EQ(*d.value, "no image at all");
      EXPECT_EQ(header(d, "latin"), rubbish);
      EXPECT_EQ(d.headers.at(2), headers[2]);
      EXPECT_EQ(header(d, "__connect.errors.exception.class.name"), "undecodable_image");
    } else {
      EXPECT_EQ(d.key, "json");
      EXPECT_EQ(header(d, "__connect.errors.exception.class.name"), "unknown_schema");
    }
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
