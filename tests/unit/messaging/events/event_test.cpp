#include "messaging/events/event.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace ziyu::events {

namespace {

using nlohmann::json;

template <size_t... I>
std::vector<body> one_of_each(std::index_sequence<I...>) {
  return {body{std::in_place_index<I>}...};
}

/// Each event with its default values.
std::vector<body> one_of_each() {
  return one_of_each(std::make_index_sequence<std::variant_size_v<body>>{});
}

evidence some_evidence() {
  evidence x;
  x.slot = 2;
  x.generation = 7;
  x.pid = 4711;
  x.model = {"数字", "2", "abc", "fp32", "exact", "/a/folder"};
  x.jobs = 12;
  x.verdict = "leak";
  x.judgement = "live bytes grow";
  x.odds = 1e6;
  x.onset_job = 3;
  x.with_inputs = "any";
  x.live_slope = {6.5, 6, 7};
  x.private_slope = {8, 7, 9};
  x.live_bytes = 100;
  x.private_bytes = 90;
  x.peak_private_bytes = 95;
  x.baseline_bytes = 10;
  x.last_delta_bytes = -4;
  x.budget_bytes = 1'000;
  x.jobs_left = 9;
  x.jobs_left_earliest = 8;
  x.jobs_left_latest = 11;
  x.series.points = {{11, 6, 94, 84}, {12, 6, 100, 90}};
  return x;
}

json evidence_json() {
  return json::parse(R"({
    "slot": 2, "generation": 7, "pid": 4711, "jobs": 12, "verdict": "leak",
    "model": {"name": "数字", "version": "2", "sha256": "abc", "precision": "fp32",
              "decode": "exact"},
    "judgement": "live bytes grow", "evidence": 1e6, "onset_job": 3, "with_inputs": "any",
    "live_slope": {"bytes_per_job": 6.5, "lower": 6.0, "upper": 7.0},
    "private_slope": {"bytes_per_job": 8.0, "lower": 7.0, "upper": 9.0},
    "live_bytes": 100, "private_bytes": 90, "peak_private_bytes": 95, "baseline_bytes": 10,
    "last_delta_bytes": -4, "budget_bytes": 1000,
    "jobs_left": 9, "jobs_left_earliest": 8, "jobs_left_latest": 11,
    "series": {"columns": ["job", "delta_bytes", "live_bytes", "private_bytes"],
               "rows": [[11, 6, 94, 84], [12, 6, 100, 90]]}})");
}

json file_json(const std::string& name) {
  const auto content = read_file(test::source_dir() + "/" + name);
  EXPECT_TRUE(content) << name;
  return json::parse(content.value_or("null"));
}

} // namespace

TEST(Event, HasSchemaTypeTimeInstanceAndDetail) {
  worker_replaced x{.worker = some_evidence(),
                    .cause = "retained_tensors",
                    .reason = "leak of 6 B per job",
                    .new_generation = 8,
                    .new_pid = 4712,
                    .bytes_recovered = 80,
                    .ms = 4.5,
                    .report = {},
                    .sites = {}};
  auto detail = evidence_json();
  detail.update(json::parse(R"({"cause": "retained_tensors", "reason": "leak of 6 B per job",
    "new_generation": 8, "new_pid": 4712, "bytes_recovered": 80, "ms": 4.5})"));
  EXPECT_EQ(to_json({1'700'000'000'000, "主机-1", x}), (json{{"schema", "ziyu.event.v1"},
                                                             {"type", "worker_replaced"},
                                                             {"time_ms", 1'700'000'000'000},
                                                             {"instance", "主机-1"},
                                                             {"detail", detail}}));
}

TEST(Event, HasItsDetailEvenIfThatIsEmpty) {
  EXPECT_EQ(detail_of(broker_available{}), json::object()) << "never null";
}

TEST(Event, OfEachTypeIsReadAsItWasWritten) {
  for (const auto& x : one_of_each()) {
    const auto written = to_json({5, "host-1", x});
    ASSERT_TRUE(written.at("detail").is_object()) << written;
    const auto read = event_from_json(written);
    ASSERT_TRUE(read) << written;
    EXPECT_EQ(read->body.index(), x.index());
    EXPECT_EQ(to_json(*read), written);
  }
}

TEST(Event, WithAllOfItsValuesIsReadAsItWasWritten) {
  auto with_gpu = some_evidence();
  with_gpu.gpu_allocated_bytes = 5;
  with_gpu.gpu_reserved_bytes = 6;
  with_gpu.gpu_slope = {1, 0, 2};
  const frame blamed{"ziyu::keep(int)", "ziyu-worker", "faults.cpp", 42};
  const leak_report report{.worker = with_gpu,
                           .report = "2.7-ab",
                           .cause = "retained_tensors",
                           .reason = "live bytes grow",
                           .growth = {60, 9, {6.5, 6, 7}},
                           .forecast = jobs_forecast{9, 8, 11},
                           .sampling = {524'288, 58, true},
                           .sites = {{.bytes = 58,
                                      .objects = 9,
                                      .share = 0.97,
                                      .threads = 1,
                                      .cause = "retained_tensors",
                                      .responsible = blamed,
                                      .common = 1,
                                      .stack = {blamed},
                                      .full_stack = {{"malloc", "libc.so.6", {}, {}}, blamed}}},
                           .flame = "main;keep 58\n",
                           .explain_ms = 310.5};
  const worker_replaced replaced{.worker = with_gpu,
                                 .cause = "retained_tensors",
                                 .reason = "9 jobs are left",
                                 .new_generation = 8,
                                 .new_pid = 4712,
                                 .bytes_recovered = 80,
                                 .ms = 4.5,
                                 .report = "2.7-ab",
                                 .sites = {{{58, 0.97, "keep", "ziyu-worker", "faults.cpp", 42}}}};
  const worker_died died{.slot = 1,
                         .generation = 2,
                         .pid = 3,
                         .how = "signal 9",
                         .jobs = 4,
                         .private_bytes = 5,
                         .code = "oom_killed",
                         .reason = "killed by the kernel",
                         .container_used_bytes = 6,
                         .container_limit_bytes = 7,
                         .container_source = "cgroup v2"};
  partitions_assigned assigned;
  assigned.maps_ignored = {{"image.jobs", 3, "not a map"}};
  const service_stopped stopped{.ledger = {{"total", {{"fetched", 5}}}},
                                .stages = {{{"drain", 100, 5.5, true}, {"gate", 10, 20, false}}}};
  const breaker_opened opened{
    {"closed", "open", "memory", "96 % are used", {{"memory_percent", 96.5}, {"open_ms", 2e3}}}};
  for (const body& x :
       {body{report}, body{replaced}, body{died}, body{assigned}, body{stopped}, body{opened}}) {
    const auto written = to_json({5, "host-1", x});
    const auto read = event_from_json(written);
    ASSERT_TRUE(read) << written;
    EXPECT_EQ(to_json(*read), written);
  }
}

TEST(Event, OfTheBreakerHasItsNumbersBesideTheOtherValues) {
  EXPECT_EQ(detail_of(breaker_half_open{{"open", "half_open", "settled", "calm", {{"a_ms", 2}}}}),
            (json{{"from", "open"},
                  {"to", "half_open"},
                  {"cause", "settled"},
                  {"reason", "calm"},
                  {"a_ms", 2.0}}));
}

TEST(Event, IsAsUrgentAsWhatItSays) {
  EXPECT_EQ(level_of(worker_started{}), severity::info);
  EXPECT_EQ(level_of(worker_died{}), severity::error);
  EXPECT_EQ(level_of(partitions_revoked{.lost = true}), severity::warning);
  EXPECT_EQ(level_of(partitions_revoked{.lost = false}), severity::info);
  memory_pressure pressure;
  EXPECT_EQ(level_of(pressure), severity::info);
  pressure.rises = true;
  EXPECT_EQ(level_of(pressure), severity::warning);
  consumer_stalled stalled;
  EXPECT_EQ(level_of(stalled), severity::error);
  stalled.escalates = true;
  EXPECT_EQ(level_of(stalled), severity::critical);
  partitions_assigned assigned;
  EXPECT_EQ(level_of(assigned), severity::info);
  assigned.maps_ignored.emplace_back();
  EXPECT_EQ(level_of(assigned), severity::warning);
}

TEST(EventFromAnotherVersion, KeepsDefaultsForWhatIsMissing) {
  const auto x = event_from_json({{"type", "worker_died"}});
  ASSERT_TRUE(x);
  const auto& died = std::get<worker_died>(x->body);
  EXPECT_EQ(x->time_ms, 0);
  EXPECT_EQ(died.jobs, 0u);
  EXPECT_FALSE(died.code);
}

TEST(EventFromAnotherVersion, IgnoresValuesOfOtherTypes) {
  const auto whole = evidence_json();
  for (const auto& [key, value] : whole.items()) {
    for (const auto& other : {json{}, json{"text"}, json{-1e300}, json{1e300}, json::array({1}),
                              json{true}, json::object({{"columns", 5}, {"lower", "x"}})}) {
      auto detail = whole;
      detail[key] = other;
      EXPECT_TRUE(event_from_json({{"type", "leak_suspected"}, {"detail", detail}})) << key;
    }
  }
  const auto x = event_from_json(
    {{"type", "worker_died"},
     {"detail", {{"slot", "one"}, {"generation", -5}, {"jobs", 2.6}, {"code", 7}}}});
  ASSERT_TRUE(x);
  const auto& died = std::get<worker_died>(x->body);
  EXPECT_EQ(died.slot, 0u);
  EXPECT_EQ(died.generation, 0u);
  EXPECT_EQ(died.jobs, 3u);
  EXPECT_FALSE(died.code);
}

TEST(EventFromAnotherVersion, HasIntegersWhoseSumsCannotOverflow) {
  const auto x = event_from_json(
    {{"type", "leak_suspected"},
     {"detail", {{"last_delta_bytes", -9e18}, {"live_bytes", UINT64_MAX}, {"slot", 1e15}}}});
  ASSERT_TRUE(x);
  const auto& worker = std::get<leak_suspected>(x->body).worker;
  EXPECT_EQ(worker.last_delta_bytes, -1'000'000'000'000'000);
  EXPECT_EQ(worker.live_bytes, 1'000'000'000'000'000u);
  EXPECT_EQ(worker.slot, UINT32_MAX);
}

TEST(EventFromAnotherVersion, FindsTheColumnsOfASeriesByTheirNames) {
  series x;
  x.read(
    {{"columns", {"private_bytes", "surprise", "job"}}, {"rows", {{5, 6, 7}, {8}, "rubbish"}}});
  ASSERT_EQ(x.points.size(), 3u);
  EXPECT_EQ(x.points[0].job, 7u);
  EXPECT_EQ(x.points[0].private_bytes, 5u);
  EXPECT_EQ(x.points[0].live_bytes, 0u);
  EXPECT_EQ(x.points[1].private_bytes, 8u);
  EXPECT_EQ(x.points[1].job, 0u);
}

TEST(EventFromAnotherVersion, IsRefusedIfItsTypeIsNotKnown) {
  for (const auto& x : {json{}, json{5}, json::array({1}), json::object(), json{{"type", 5}},
                        json{{"type", "worker_exploded"}}})
    EXPECT_FALSE(event_from_json(x)) << x;
}

TEST(EventTypes, AreThoseOfTheSchema) {
  const auto schema = file_json("configs/event.schema.json");
  const auto listed = schema.at("properties").at("type").at("enum").get<std::set<std::string>>();
  EXPECT_EQ(listed, (std::set<std::string>{types().begin(), types().end()}));
}

TEST(EventTypes, AreDocumented) {
  const auto page = read_file(test::source_dir() + "/docs/messages.md");
  ASSERT_TRUE(page);
  for (const auto type : types())
    EXPECT_NE(page->find("`" + std::string{type} + "`"), page->npos) << type;
}

} // namespace ziyu::events
