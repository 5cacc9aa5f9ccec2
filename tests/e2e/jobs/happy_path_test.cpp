// Real images in, labels out, by a real Kafka and real workers.

#include "base/text.hpp"
#include "configs/schema.hpp"
#include "e2e/support/observed.hpp"
#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

namespace {

std::string violations(const json& schema, const json& document) {
  std::string text;
  for (const auto& x : configs::validate(schema, document))
    text += x.message + "\n";
  return text;
}

json schema(const std::string& name) {
  return json::parse(must(read_file(source_file("configs/" + name))));
}

/// Headers that a result takes over from its job.
const messaging::header_list job_headers{
  {"traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
  {"tracestate", "vendor=1"},
  {"ce_source", "/camera/7"},
  {"x-unknown", "值"},
  {"x-twice", "1"},
  {"x-twice", "2"},
};

/// The digits as JSON: without a key, the id is in the document. Returns the label of each id.
std::map<std::string, std::string> submit_digits_as_json(stage& x) {
  std::vector<messaging::outgoing> records;
  std::map<std::string, std::string> truth;
  for (size_t i = 0; i < digits().size(); ++i) {
    const auto id = "json-数字-" + std::to_string(i);
    const json document{
      {"schema", "ziyu.job.v1"}, {"job_id", id}, {"image", base64_encode(digits()[i].bytes)}};
    records.push_back(job_record({}, document.dump(), job_headers));
    x.expect(id);
    truth[id] = digits()[i].label;
  }
  x.submit(std::move(records));
  return truth;
}

void expect_first_attempt_of_digits(const result_record& r, const json& result_schema) {
  const auto id = r.job_id();
  SCOPED_TRACE(id);
  EXPECT_EQ(violations(result_schema, r.document), "") << r.document.dump();
  EXPECT_EQ(r.raw.key, id);
  EXPECT_EQ(r.document.at("status"), "ok");
  EXPECT_EQ(r.document.at("attempt"), 1);
  EXPECT_EQ(r.document.at("top_k").size(), 3u);
  EXPECT_GE(r.document.at("confidence").get<double>(), 0.1); // of ten, the best
  // A worker that has warmed up keeps nothing of a job, not a byte.
  EXPECT_EQ(r.document.at("memory").at("delta_bytes"), 0);
  auto carried = job_headers;
  carried.emplace_back("content-type", "application/json");
  EXPECT_EQ(r.raw.headers, carried);
}

void expect_events_of_a_quiet_life(stage& x) {
  EXPECT_TRUE(x.read_event("service_stopped"));
  const auto event_schema = schema("event.schema.json");
  for (const auto& e : x.events())
    EXPECT_EQ(violations(event_schema, e), "") << e.dump();
  for (const auto type : {"service_started", "fork_server_started", "worker_started",
                          "partitions_assigned", "service_stopping", "service_stopped"})
    EXPECT_THAT(x.events(type), testing::Not(testing::IsEmpty())) << type;
  EXPECT_TRUE(x.events("worker_replaced").empty());
}

} // namespace

TEST(HappyPath, ClassifiesTheHeldOutDigitsAsRawAndAsJsonJobs) {
  stage x{shared_broker()};
  auto s = x.serve();
  x.submit_digits(360, "raw", job_headers);
  const auto truth = submit_digits_as_json(x);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);

  EXPECT_EQ(x.results().size(), 720u);
  EXPECT_TRUE(x.dead_letters().empty());
  EXPECT_EQ(x.duplicates(), 0u);
  EXPECT_GE(x.accuracy(), 0.97);
  size_t right = 0;
  const auto result_schema = schema("result.schema.json");
  std::set<std::string> labels;
  std::set<int> slots;
  for (const auto& r : x.results()) {
    expect_first_attempt_of_digits(r, result_schema);
    labels.insert(r.document.at("label"));
    slots.insert(r.document.at("worker").at("slot").get<int>());
    if (auto i = truth.find(r.job_id()); i != truth.end())
      right += i->second == r.document.at("label").get<std::string>();
  }
  EXPECT_GE(static_cast<double>(right) / 360, 0.97);
  EXPECT_EQ(labels,
            (std::set<std::string>{"零", "一", "二", "三", "四", "五", "六", "七", "八", "九"}));
  EXPECT_EQ(slots, (std::set<int>{0, 1}));

  EXPECT_EQ(s.stop(), 0) << s.log();
  expect_events_of_a_quiet_life(x);
  // The last word of the ledger.
  const auto total = x.events("service_stopped").back().at("detail").at("ledger").at("total");
  EXPECT_EQ(total.at("fetched"), 720) << total;
  EXPECT_EQ(total.at("published"), 720) << total;
  EXPECT_EQ(total.at("balanced"), true) << total;
}

TEST(HappyPath, HttpTellsHowItGoes) {
  stage x{shared_broker()};
  auto s = x.serve();
  EXPECT_EQ(s.get("/livez").status, 200);
  EXPECT_TRUE(eventually([&] { return s.get("/readyz").status == 200; })) << s.get("/readyz").body;
  x.submit_digits(40);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  expect_all_accounted(x, s);
  s.await_workers(2, 1);

  const auto health = s.get_json("/health");
  EXPECT_EQ(health.at("status"), "healthy");
  EXPECT_EQ(health.at("threshold_exceeded"), false);
  EXPECT_GT(health.at("memory_percent").get<double>(), 0);
  EXPECT_EQ(health.at("results"), 40);
  EXPECT_EQ(health.at("breaker"), "closed");
  EXPECT_THAT(s.get("/metrics").body, testing::HasSubstr("ziyu_results_total{status=\"ok\"} 40"));
  EXPECT_EQ(metric(s, "ziyu_job_preprocess_seconds_count"), 40);
  EXPECT_GT(metric(s, "ziyu_job_preprocess_seconds_sum"), 0);
  // Gauges follow at the next look of their timers.
  EXPECT_TRUE(eventually([&] { return metric(s, "ziyu_oldest_unfinished_job_seconds") == 0; }));
  // Little: it shares with its workers all that it has not written to since their forks.
  EXPECT_TRUE(eventually([&] { return metric(s, "ziyu_fork_server_private_bytes") > 64 << 10; }));
  const auto workers = s.get_json("/workers").at("workers");
  EXPECT_EQ(workers.size(), 3u);
  for (const auto& w : workers)
    EXPECT_TRUE(is_running(w.at("pid"))) << w;
  const auto unknown = s.get("/nothing");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, testing::HasSubstr("/ledger"));
  EXPECT_EQ(s.stop(), 0) << s.log();
}
