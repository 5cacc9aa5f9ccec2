// What the service writes is what configs/*.schema.json promise.

#include "base/file.hpp"
#include "base/text.hpp"
#include "configs/schema.hpp"
#include "messaging/events/event.hpp"
#include "messaging/job.hpp"
#include "messaging/result.hpp"
#include "support/leak_events.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

using namespace ziyu;
using nlohmann::json;

namespace {

json schema(const std::string& name) {
  return json::parse(
    read_file(std::filesystem::path{test::source_dir()} / "configs" / name).value());
}

std::string violations(const std::string& name, const json& document) {
  std::string result;
  for (const auto& x : configs::validate(schema(name), document))
    result += x.message + "\n";
  return result;
}

messaging::result full_result() {
  messaging::result x;
  x.job_id = "数字-7";
  x.top_k = {{"七", 0.9, 7}, {"一", 0.1, 1}};
  x.model = {"digits", "1", std::string(64, 'a'), "fp32"};
  x.slot = 1;
  x.generation = 3;
  x.pid = 4711;
  x.total_ms = 12.5;
  x.delta_bytes = -16;
  x.source = {"image.jobs", 2, 77};
  x.finished_ms = 1'700'000'000'000;
  return x;
}

} // namespace

TEST(ResultSchema, HoldsForResultsAndForErrors) {
  auto x = full_result();
  EXPECT_EQ(violations("result.schema.json", nlohmann::json::parse(to_json_text(x))), "");
  x.top_k.front().confidence = 7.5; // of a model without activation
  EXPECT_EQ(violations("result.schema.json", nlohmann::json::parse(to_json_text(x))), "");
  x.top_k.clear(); // none reaches the threshold
  EXPECT_EQ(violations("result.schema.json", nlohmann::json::parse(to_json_text(x))), "");
  x.ok = false;
  x.reason = {errc::inference_failed, "no"};
  EXPECT_EQ(violations("result.schema.json", nlohmann::json::parse(to_json_text(x))), "");
}

TEST(ResultSchema, NoticesWhatDoesNotBelong) {
  auto document = nlohmann::json::parse(to_json_text(full_result()));
  document["attempt"] = -7;
  document["surprise"] = true;
  document.erase("job_id");
  EXPECT_EQ(
    violations("result.schema.json", document),
    "job_id is missing: The id of the job: its job_id, else its key (hex: and hexadecimal for "
    "bytes that are not readable UTF-8), else its place. The key of the record is the job's "
    "key, or else this.\n"
    "attempt: -7 is not at least 0\n"
    "unknown key surprise\n");
}

TEST(EventSchema, KnowsTheTypesAndLeavesTheDetailFree) {
  auto x = events::to_json({1'700'000'000'000, "host-1", events::worker_replaced{}});
  EXPECT_EQ(violations("event.schema.json", x), "");
  EXPECT_EQ(violations("event.schema.json", test::leak_report_event()), "");
  x["type"] = "worker_exploded";
  EXPECT_NE(violations("event.schema.json", x), "");
}

TEST(JobSchema, AgreesWithWhatTheServiceAcceptsAndRefuses) {
  const auto accepted = [](const json& document) {
    messaging::record x;
    x.value = std::make_shared<const std::string>(document.dump());
    return messaging::decode_job(x, {}).has_value();
  };
  const auto image = base64_encode("not really an image");
  for (const auto& document :
       {json{{"image", image}}, json{{"schema", "ziyu.job.v1"}, {"job_id", "a"}, {"image", image}},
        json{{"image", image}, {"note", "is ignored"}}}) {
    EXPECT_EQ(violations("job.schema.json", document), "") << document;
    EXPECT_TRUE(accepted(document)) << document;
  }
  for (const auto& document :
       {json{{"job_id", "a"}}, json{{"image", 5}},
        json{{"schema", "ziyu.job.v9"}, {"image", image}}, json{{"job_id", ""}, {"image", image}},
        json{{"job_id", 5}, {"image", image}}}) {
    EXPECT_NE(violations("job.schema.json", document), "") << document;
    EXPECT_FALSE(accepted(document)) << document;
  }
}
