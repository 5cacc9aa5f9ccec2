#include "cli/view/rows.hpp"

#include "base/text.hpp"
#include "messaging/dead_letter.hpp"
#include "messaging/events/event.hpp"
#include "messaging/result.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

using namespace ziyu;
using namespace ziyu::cli;
using nlohmann::json;

namespace {

messaging::record job_at(int32_t partition, int64_t offset) {
  messaging::record x;
  x.id = {"image.jobs", partition, offset};
  return x;
}

messaging::record record_of(const std::string& value) {
  messaging::record x;
  x.id = {"image.results", 0, 7};
  x.value = std::make_shared<const std::string>(value);
  return x;
}

messaging::result good_result() {
  messaging::result x;
  x.job_id = "dog.jpg";
  x.top_k = {{"金毛犬", 0.9876, 3}, {"狗", 0.01, 1}};
  x.slot = 1;
  x.generation = 4;
  x.total_ms = 12.34;
  return x;
}

std::string row(const messaging::result& x, bool colours = false) {
  return result_row(record_of(to_json_text(x)), colours);
}

std::optional<size_t> size_of(const messaging::record& x) {
  return x.value ? std::optional{x.value->size()} : std::nullopt;
}

/// Where the text after the fixed columns of a row begins, in columns.
size_t column_of(const std::string& row, const std::string& text) {
  const auto at = row.find(text);
  return at == row.npos ? row.npos : display_width(row.substr(0, at));
}

} // namespace

TEST(ResultRow, ShowsLabelConfidenceAndWorker) {
  const auto text = row(good_result());
  EXPECT_EQ(column_of(text, "金毛犬"), 35u);
  EXPECT_NE(text.find("98.8 %"), text.npos);
  EXPECT_NE(text.find("12.3"), text.npos);
  EXPECT_NE(text.find(" 0 B 1.4"), text.npos);
}

TEST(ResultRow, StandsUnderItsHeadWhateverTheLabel) {
  auto x = good_result();
  const auto worker = column_of(result_head(false), "WORKER");
  for (const auto* label : {"七", "a", "一个非常长的标签一个非常长的标签", ""}) {
    x.top_k.front().label = label;
    EXPECT_EQ(column_of(row(x), "1.4"), worker) << label;
  }
  x.ok = false;
  x.reason = {errc::undecodable_image, "not an image"};
  EXPECT_EQ(column_of(row(x), "1.4"), worker);
}

TEST(ResultRow, ShowsAnAnswerWithoutALabelAsAnAnswer) {
  auto x = good_result();
  const auto worker = column_of(row(x), "1.4");
  x.top_k.clear();
  EXPECT_EQ(column_of(row(x), "(none)"), 35u);
  EXPECT_EQ(column_of(row(x), "1.4"), worker);
}

TEST(ResultRow, ShowsAConfidenceThatIsNoProbabilityAsANumber) {
  auto x = good_result();
  x.top_k.front().confidence = 12.5;
  EXPECT_NE(row(x).find(" 12.5 "), std::string::npos);
  EXPECT_EQ(row(x).find('%'), std::string::npos);
}

TEST(ResultRow, SaysWhatWentWrong) {
  auto x = good_result();
  x.ok = false;
  x.top_k.clear();
  x.reason = {errc::undecodable_image, "not an image\x1b[2J"};
  const auto text = row(x);
  EXPECT_NE(text.find("undecodable_image"), text.npos);
  EXPECT_NE(text.find("not an image [2J"), text.npos);
}

TEST(ResultRow, NotesAttemptsDuplicatesAndGrowth) {
  auto x = good_result();
  x.attempt = 2;
  x.duplicate_id = true;
  x.delta_bytes = 6'292'128;
  const auto text = row(x);
  EXPECT_NE(text.find("attempt 2"), text.npos);
  EXPECT_NE(text.find("duplicate id"), text.npos);
  EXPECT_NE(text.find("+6.0 MiB"), text.npos);
  x.delta_bytes = -16;
  EXPECT_NE(row(x).find("-16 B"), text.npos);
}

TEST(ResultRow, IsANoteWhenTheRecordIsNoResult) {
  for (const auto* value : {"", "rubbish", "[]", "{}", R"({"schema": "ziyu.job.v1"})", "\xff"})
    EXPECT_EQ(result_row(record_of(value), false), "image.results-0-7 is no result") << value;
  messaging::record tombstone;
  tombstone.id = {"image.results", 0, 8};
  EXPECT_EQ(result_row(tombstone, false), "image.results-0-8 is no result");
}

TEST(Rows, HaveEscapesOnlyWithColours) {
  EXPECT_EQ(row(good_result()).find('\x1b'), std::string::npos);
  EXPECT_NE(row(good_result(), true).find('\x1b'), std::string::npos);
  EXPECT_EQ(result_head(false).find('\x1b'), std::string::npos);
  EXPECT_NE(event_head(true).find('\x1b'), std::string::npos);
}

TEST(EventRow, ShowsTimeTypeAndDetail) {
  ::setenv("TZ", "UTC", 1);
  ::tzset();
  const events::event x{
    1'700'000'000'123, "host-1",
    events::publication_resumed{
      .topic = "结果\n", .whole_topic = true, .records = 2, .waited_ms = 45, .reason = "late"}};
  const auto text = event_row(record_of(events::to_json(x).dump()), false);
  EXPECT_TRUE(text.starts_with("11-14 22:13:20.123 publication_resumed ")) << text;
  EXPECT_NE(text.find(" reason=late records=2 topic=结果  waited_ms=45 whole_topic=true"),
            text.npos)
    << text;
}

TEST(EventRow, IsANoteWhenTheRecordIsNoEvent) {
  for (const auto* value : {"rubbish", "{}", R"({"type": 5})", "[1]"})
    EXPECT_EQ(event_row(record_of(value), false), "image.results-0-7 is no event") << value;
}

TEST(EventRow, ToleratesAMissingTimeAndDetail) {
  const auto text = event_row(record_of(R"({"type": "worker_died"})"), false);
  EXPECT_TRUE(text.starts_with("?  ")) << text;
  EXPECT_NE(text.find("worker_died"), text.npos);
}

TEST(DeadLetterRow, ShowsReasonSourceAndSize) {
  auto x = record_of("payload!");
  x.key = "零.png";
  x.headers = messaging::dead_letter_headers(job_at(3, 42),
                                             {errc::undecodable_image, "not an\nimage"}, 2, 1'000);
  const auto text = dead_letter_row(x, size_of(x), false);
  EXPECT_TRUE(text.starts_with("零.png ")) << text;
  for (const auto* part : {"undecodable_image", " 2 ", "8 B", "image.jobs-3-42", "not an image"})
    EXPECT_NE(text.find(part), text.npos) << part << " in " << text;
}

TEST(DeadLetterRow, ToleratesStrangers) {
  messaging::record x;
  x.id = {"image.jobs-dlt", 0, 1};
  const auto text = dead_letter_row(x, size_of(x), false);
  EXPECT_NE(text.find("none"), text.npos);
  EXPECT_NE(text.find("?-?-?"), text.npos);
}

TEST(DeadLetterJson, HoldsProvenanceAndIsAlwaysUtf8) {
  auto x = record_of("payload!");
  x.key = "a";
  x.headers = messaging::dead_letter_headers(job_at(3, 42), {errc::empty_image, "no bytes"}, 1,
                                             1'000);
  x.headers.emplace_back("none", std::nullopt);
  x.headers.emplace_back("odd", "\xff");
  const auto document = json::parse(dead_letter_json(x, size_of(x)).dump());
  EXPECT_EQ(document["job_id"], "a");
  EXPECT_EQ(document["reason"]["code"], "empty_image");
  EXPECT_EQ(document["reason"]["message"], "no bytes");
  EXPECT_EQ(document["source"]["offset"], 42);
  EXPECT_EQ(document["payload_bytes"], 8);
  EXPECT_EQ(document["headers"].back()["value"], "\uFFFD");
  EXPECT_TRUE(document["headers"].at(document["headers"].size() - 2).at("value").is_null());
  x.value = nullptr;
  EXPECT_TRUE(dead_letter_json(x, size_of(x))["payload_bytes"].is_null());
}
