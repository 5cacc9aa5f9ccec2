#include "configs/config.hpp"

#include "base/bytes.hpp"
#include "base/file.hpp"
#include "configs/fields.hpp"
#include "configs/schema.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <iterator>
#include <set>
#include <sstream>

using namespace ziyu;
using namespace ziyu::configs;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
namespace fs = std::filesystem;

namespace {

constexpr auto minimal = R"({
  "kafka": {"bootstrap.servers": "b:9092", "group.id": "g"},
  "model": {"path": "/m/1"}
})";

std::vector<std::string> errors_of(const std::string& text,
                                   const std::vector<std::string>& overrides = {}) {
  std::vector<std::string> result;
  if (const auto x = parse(text, "/base", overrides); !x)
    for (const auto& e : x.error())
      result.push_back(e.message);
  return result;
}

/// The errors of the minimal document with these overrides.
std::vector<std::string> errors_with(const std::vector<std::string>& overrides) {
  return errors_of(minimal, overrides);
}

config with(const std::vector<std::string>& overrides) {
  const auto x = parse(minimal, "/base", overrides);
  EXPECT_TRUE(x) << x.error().front().message;
  return x->values;
}

const json& schema() {
  static const auto result = json::parse(schema_text());
  return result;
}

/// Section and key of each value in the schema with the schema of its value.
std::map<std::string, json> leaves() {
  std::map<std::string, json> result;
  for (const auto& [section, part] : schema().at("properties").items())
    if (section != "kafka" && part.contains("properties"))
      for (const auto& [key, leaf] : part.at("properties").items())
        result[section + "." + key] = leaf;
  return result;
}

template <class T>
json value_of(const T& x) {
  if constexpr (std::is_same_v<T, fs::path>)
    return x.string();
  else
    return x;
}

std::map<std::string, json> fields_of(const config& x) {
  std::map<std::string, json> result;
  for_each_field(
    x, [&result](const char* path, const auto& member) { result[path] = value_of(member); });
  return result;
}

} // namespace

// -- schema and struct agree --------------------------------------------------------

TEST(Config, HasAFieldForEachKeyOfTheSchemaAndNoOther) {
  std::set<std::string> in_schema, in_struct{"faults.slots"};
  for (const auto& [path, unused] : leaves())
    in_schema.insert(path);
  for (const auto& [path, unused] : fields_of(config{}))
    in_struct.insert(path);
  EXPECT_EQ(in_schema, in_struct);
}

TEST(Config, TakesEveryDefaultOfTheSchema) {
  const auto fields = fields_of(with({}));
  for (const auto& [path, leaf] : leaves()) {
    if (path == "faults.slots" || path == "model.path")
      continue;
    if (path == "jobs.max_pixels") // 0 stands for as many as fit: job_memory_test.cpp
      continue;
    ASSERT_TRUE(leaf.contains("default")) << path;
    auto wanted = leaf["default"];
    if (leaf.value("format", "") == "bytes" && wanted.is_string())
      wanted = parse_bytes(wanted.get<std::string>()).value();
    EXPECT_EQ(fields.at(path), wanted) << path;
  }
}

TEST(Config, TakesEveryKeyFromTheDocumentNotFromItsNeighbour) {
  // A value of its own for each key, within the ranges and the rules.
  std::istringstream words{R"(
    topics.jobs=t1 topics.results=t2 topics.dead_letters=t3 topics.events=t4
    model.path=/x/y model.precision=auto model.decode=auto model.compiled_path=/x/c
    model.top_k=7
    workers.slots=11 workers.standbys=12 workers.start_timeout_ms=13 workers.job_timeout_ms=14
    workers.grace_ms=15 workers.executable=/x/w
    batching.max_jobs=50 batching.max_bytes=51 batching.max_delay_ms=52
    memory.worker_budget_bytes=2000001 memory.worker_hard_limit_bytes=3000002
    memory.container_limit_bytes=2000003 memory.model_cache_bytes=1000004
    memory.probe_interval_ms=16
    judge.warmup_jobs=17 judge.min_jobs=18 judge.window_jobs=19 judge.min_effect_bytes=20
    judge.confidence=0.75 judge.cache_entries=40
    healing.enabled=false healing.replace_at=0.25 healing.forecast_jobs=21
    healing.min_life_jobs=22 healing.max_unavailable=0.375 healing.jitter=0.35
    healing.explain=false healing.explain_interval_ms=41
    restart.intensity=23 restart.period_ms=24 restart.backoff_initial_ms=25
    restart.backoff_max_ms=26
    breaker.mode=disable breaker.ease_at=0.375 breaker.tighten_at=0.5 breaker.open_at=0.625
    breaker.close_below=0.125 breaker.open_ms=27 breaker.open_max_ms=42 breaker.settle_ms=43
    breaker.probe_jobs=28 breaker.error_rate=0.875 breaker.error_min_jobs=44
    breaker.error_window_ms=45
    jobs.max_bytes=29 jobs.max_pixels=30 jobs.max_attempts=31 jobs.max_in_flight_bytes=32
    jobs.max_in_flight=33 jobs.dataref_root=/x/d jobs.dead_letter_headers=kafka_dlt
    delivery.guarantee=exactly_once delivery.transactional_id=somebody delivery.ordering=key
    delivery.retry_backoff_ms=133 delivery.retry_backoff_max_ms=134
    http.host=h http.port=34
    faults.allowed=true
    log.level=debug log.format=json
    shutdown.gate_ms=46 shutdown.drain_ms=35 shutdown.flush_ms=47 shutdown.commit_ms=48
    shutdown.close_ms=49
  )"};
  const std::vector<std::string> overrides{std::istream_iterator<std::string>{words}, {}};
  const auto fields = fields_of(with(overrides));
  EXPECT_EQ(overrides.size(), fields.size());
  for (const auto& x : overrides) {
    const auto equals = x.find('=');
    const auto& field = fields.at(x.substr(0, equals));
    EXPECT_EQ(field.is_string() ? field.get<std::string>() : field.dump(), x.substr(equals + 1))
      << x;
  }
}

TEST(Config, TheExampleLoadsAndServesTheDigits) {
  const auto root = fs::path{test::source_dir()};
  const auto x = load(root / "configs/ziyu.json");
  ASSERT_TRUE(x) << x.error().front().message;
  EXPECT_EQ(x->values.model.path, root / "models/digits/1");
  EXPECT_EQ(x->values.memory.worker_budget_bytes, 256u << 20);
  EXPECT_EQ(x->values.workers.standbys, 1u);
  EXPECT_FALSE(x->values.faults.allowed);
}

// -- reading -------------------------------------------------------------------------

TEST(Config, AllowsCommentsAndAmountsInWords) {
  const auto x = parse(R"(// head
    { /* block */ "kafka": {"bootstrap.servers": "b", "group.id": "g"}, "model": {"path": "m"},
      "memory": {"worker_budget_bytes": "6MiB", "worker_hard_limit_bytes": 7000000} })",
                       "/base");
  ASSERT_TRUE(x);
  EXPECT_EQ(x->values.memory.worker_budget_bytes, 6u << 20);
  EXPECT_EQ(x->document["memory"]["worker_budget_bytes"], 6u << 20)
    << "the effective document has numbers";
  EXPECT_EQ(x->values.memory.worker_hard_limit_bytes, 7'000'000u);
}

TEST(Config, KafkaPropertiesPassVerbatimAsTexts) {
  const auto x = with({"kafka.security.protocol=ssl", "kafka.consumer.fetch.min.bytes=10",
                       "kafka.producer.linger.ms=5", "kafka.socket.keepalive.enable=true"});
  const auto consumer = consumer_properties(x);
  const auto producer = producer_properties(x);
  EXPECT_EQ(consumer.at("bootstrap.servers"), "b:9092");
  EXPECT_EQ(consumer.at("group.id"), "g");
  EXPECT_EQ(consumer.at("fetch.min.bytes"), "10");
  EXPECT_EQ(consumer.at("socket.keepalive.enable"), "true");
  EXPECT_EQ(consumer.count("linger.ms"), 0u);
  EXPECT_EQ(producer.at("linger.ms"), "5");
  EXPECT_EQ(producer.at("security.protocol"), "ssl");
  EXPECT_EQ(producer.count("group.id"), 0u);
  EXPECT_EQ(common_properties(x).count("group.id"), 0u);
}

TEST(Config, AProducerTakesAnyJobAsADeadLetterUnlessToldOtherwise) {
  const auto x = with({"jobs.max_bytes=30MiB"});
  EXPECT_GT(std::stoull(producer_properties(x).at("message.max.bytes")), max_record_bytes(x));
  EXPECT_GT(max_record_bytes(x), 40u << 20) << "30 MiB are 40 MiB in base64";
  EXPECT_EQ(
    producer_properties(with({"kafka.producer.message.max.bytes=70000"})).at("message.max.bytes"),
    "70000");
}

TEST(Config, AConsumerFetchesAnyJobUnlessToldOtherwise) {
  const auto receive = [](const config& x) {
    return std::stoull(consumer_properties(x).at("receive.message.max.bytes"));
  };
  EXPECT_EQ(receive(with({})), 100'000'000u) << "librdkafka's default is enough";
  const auto large = with({"jobs.max_bytes=100MiB"});
  EXPECT_GE(receive(large), max_record_bytes(large) + 512);
  EXPECT_EQ(receive(with({"kafka.receive.message.max.bytes=30000000"})), 30'000'000u);
  EXPECT_EQ(receive(with({"kafka.consumer.fetch.max.bytes=200000000"})), 200'000'512u);
  EXPECT_EQ(receive(with({"kafka.message.max.bytes=300000000"})), 300'000'512u)
    << "librdkafka fetches as much";
}

TEST(Config, ExpandsTheEnvironmentAndKeepsDoubledDollars) {
  ::setenv("ZIYU_TEST_SECRET", "s3cret", 1);
  const auto x = with(
    {"kafka.sasl.password=${ZIYU_TEST_SECRET}-$$-$x", "http.host=${ZIYU_TEST_SECRET}"});
  EXPECT_EQ(x.kafka.common.at("sasl.password"), "s3cret-$-$x");
  EXPECT_EQ(x.http.host, "s3cret");
  ::unsetenv("ZIYU_TEST_UNSET");
  EXPECT_THAT(errors_of(
                R"({"kafka": {"bootstrap.servers": "${ZIYU_TEST_UNSET}", "group.id": "${"},
           "model": {"path": "m"}})"),
              UnorderedElementsAre(
                "kafka.bootstrap.servers: the environment variable ZIYU_TEST_UNSET is not set",
                HasSubstr("kafka.group.id: \"${\" without \"}\"")));
}

TEST(Config, ResolvesPathsFromTheFileAndOverridesFromTheCurrentFolder) {
  temp_dir dir;
  ::setenv("ZIYU_TEST_ROOT", "/from/environment", 1);
  ASSERT_TRUE(
    write_file(dir.path() / "c.json", R"({"kafka": {"bootstrap.servers": "b", "group.id": "g"},
    "model": {"path": "../models/1"}, "jobs": {"dataref_root": "${ZIYU_TEST_ROOT}/in"}})"));
  const auto x = load(dir.path() / "c.json", {"workers.executable=bin/w"});
  ASSERT_TRUE(x) << x.error().front().message;
  EXPECT_EQ(x->values.model.path, dir.path().parent_path() / "models/1");
  EXPECT_EQ(x->values.jobs.dataref_root, "/from/environment/in");
  EXPECT_EQ(x->values.workers.executable, fs::current_path() / "bin/w");
}

TEST(Config, OverridesTakeJsonOrTextsAsTheSchemaWantsThem) {
  EXPECT_EQ(with({"http.host=127"}).http.host, "127");
  EXPECT_EQ(with({"kafka.group.id=7"}).kafka.common.at("group.id"), "7");
  EXPECT_EQ(with({"workers.slots=3", "workers.slots=4"}).workers.slots, 4u) << "the last one wins";
  const auto x = with(
    {"faults.allowed=true", "faults.slots.1=retain_tensors:6MiB", R"(healing={"enabled": false})"});
  EXPECT_EQ(x.faults.slots.at(1), "retain_tensors:6MiB");
  EXPECT_FALSE(x.healing.enabled);
}

TEST(Config, OverridesThatMakeNoSenseAreErrors) {
  EXPECT_THAT(errors_with({"workers.slots"}),
              ElementsAre(HasSubstr("--set workers.slots: expected key.path=value")));
  EXPECT_THAT(errors_with({"=3"}), ElementsAre(HasSubstr("expected key.path=value")));
  EXPECT_THAT(errors_with({"workers.slots=2", "workers.slots.deep=1"}),
              ElementsAre(HasSubstr("--set workers.slots.deep: slots has no keys below it")));
  EXPECT_THAT(errors_with({"wrokers.slots=2"}),
              ElementsAre("unknown key wrokers: did you mean workers?"));
}

// -- mistakes ---------------------------------------------------------------------------

TEST(Config, FindsAllMistakesAtOnceEachWithItsPath) {
  EXPECT_THAT(
    errors_of(R"({"kafka": {"bootstrap.servers": "", "acks": 1}, "model": {},
                            "workers": {"slot": 2, "standbys": 0}, "http": {"port": "8080"},
                            "log": {"level": "loud"}})"),
    UnorderedElementsAre(
      HasSubstr("kafka.group.id is missing"), "kafka.bootstrap.servers: must not be empty",
      HasSubstr("kafka.acks=1 is refused"), HasSubstr("model.path is missing"),
      "unknown key workers.slot: did you mean workers.slots?",
      "workers.standbys: 0 is not at least 1", "http.port: \"8080\" is not a whole number",
      "log.level: \"loud\" is not one of trace, debug, info, warn, warning, error"));
}

TEST(Config, SuggestsTheRightSectionForAKeyInTheWrongOne) {
  EXPECT_THAT(errors_with({"memory.drain_ms=5"}),
              ElementsAre("unknown key memory.drain_ms: did you mean shutdown.drain_ms?"));
  EXPECT_THAT(errors_with({"colour=1"}), ElementsAre("unknown key colour"));
}

TEST(Config, SaysWhereTheJsonIsBroken) {
  EXPECT_THAT(errors_of("{\n  \"kafka\": {,}\n}"),
              ElementsAre(HasSubstr("not JSON: parse error at line 2")));
  EXPECT_THAT(errors_of(""), ElementsAre(HasSubstr("not JSON")));
  EXPECT_THAT(errors_of("[1]"), ElementsAre("the document: a list is not an object {…}"));
  EXPECT_THAT(errors_of(R"({"log": {"level": "info", "level": "warn"}})"),
              ElementsAre("the key \"level\" is written twice in one object"));
}

TEST(Config, ThatTheParserCannotBearIsAMistakeAndNoCrash) {
  EXPECT_THAT(errors_of(R"({"workers": {"slots": 1e999}})"), ElementsAre(HasSubstr("1e999")));
  EXPECT_THAT(
    errors_of("{\"workers\": " + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}"),
    ElementsAre("nested more than 64 deep"));
  EXPECT_THAT(errors_of(std::string{"{}\0{", 4}), ElementsAre("not JSON: byte 3 is a zero byte"));
}

TEST(Config, NamesTheFile) {
  temp_dir dir;
  const auto path = dir.path() / "c.json";
  EXPECT_THAT(load(path).error().front().message, HasSubstr(path.string() + ": No such file"));
  ASSERT_TRUE(write_file(path, "{}"));
  EXPECT_THAT(load(path).error().front().message, HasSubstr(path.string() + ": kafka is missing"));
}

struct wrong_case {
  const char* override;
  const char* message;
  const char* beside = "log.level=info"; ///< Another override, as some are wrong only together.
};

class ConfigRefuses : public testing::TestWithParam<wrong_case> {};

TEST_P(ConfigRefuses, ThisValue) {
  EXPECT_THAT(errors_with({GetParam().override, GetParam().beside}),
              ElementsAre(HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
  Values, ConfigRefuses,
  testing::Values(
    wrong_case{"memory.worker_hard_limit_bytes=256MiB",
               "must be greater than memory.worker_budget_bytes"},
    wrong_case{"memory.model_cache_bytes=256MiB",
               "memory.worker_budget_bytes: 268435456 must be greater than "
               "memory.model_cache_bytes, which is 268435456"},
    wrong_case{"memory.worker_budget_bytes=lots",
               "memory.worker_budget_bytes: \"lots\" is not an amount of bytes"},
    wrong_case{"memory.worker_budget_bytes=-5",
               "memory.worker_budget_bytes: -5 is not at least 1048576"},
    wrong_case{"breaker.close_below=0.95",
               "breaker.open_at: 0.95 must be greater than breaker.close_below"},
    wrong_case{"breaker.ease_at=0.9",
               "breaker.tighten_at: 0.8 must be at least breaker.ease_at, which is 0.9"},
    wrong_case{"breaker.mode=closed", "breaker.mode: \"closed\" is not one of auto, open, disable"},
    wrong_case{"breaker.open_at=1.2", "breaker.open_at: 1.2 is not at most 1"},
    wrong_case{"healing.replace_at=0", "healing.replace_at: 0 is not greater than 0"},
    wrong_case{"judge.confidence=1", "judge.confidence: 1 is not less than 1"},
    wrong_case{"judge.window_jobs=4", "judge.window_jobs: 4 must be at least judge.min_jobs"},
    wrong_case{"restart.backoff_max_ms=10", "must be at least restart.backoff_initial_ms"},
    wrong_case{"jobs.max_in_flight_bytes=1MiB", "must be at least jobs.max_bytes"},
    wrong_case{"workers.standbys=0", "workers.standbys: 0 is not at least 1"},
    wrong_case{"workers.slots=2.5", "workers.slots: 2.5 is not a whole number"},
    wrong_case{"http.port=65536", "http.port: 65536 is not at most 65535"},
    wrong_case{"topics.events=image.jobs", "is the name of another topic already"},
    wrong_case{"topics.events=with space", "topics.events: \"with space\" does not match"},
    wrong_case{"faults.slots.0=crash", "faults are injected only when faults.allowed is true"},
    wrong_case{"faults={\"allowed\": true, \"slots\": {\"2\": \"crash\"}}",
               "there are only workers.slots = 2 slots"},
    wrong_case{"faults={\"allowed\": true, \"slots\": {\"one\": \"crash\"}}", "faults.slots.one"},
    wrong_case{"faults={\"allowed\": true, \"slots\": {\"0\": \"explode\"}}",
               "faults.slots.0: \"explode\" does not match"},
    wrong_case{"kafka.enable.auto.offset.store=true",
               "kafka.enable.auto.offset.store=true is refused"},
    wrong_case{"kafka.consumer.enable.auto.commit=true",
               "kafka.consumer.enable.auto.commit=true is refused"},
    wrong_case{"delivery={\"retry_backoff_ms\": 900, \"retry_backoff_max_ms\": 800}",
               "must be at least delivery.retry_backoff_ms"},
    wrong_case{"delivery.ordering=sorted", "delivery.ordering"},
    wrong_case{"kafka.consumer.auto.commit.interval.ms=0",
               "kafka.consumer.auto.commit.interval.ms=0 is refused"},
    wrong_case{"kafka.producer.acks=0", "kafka.producer.acks=0 is refused"},
    wrong_case{"kafka.producer.request.required.acks=1", "is refused"},
    wrong_case{"kafka.producer.enable.idempotence=false", "is refused"},
    wrong_case{"kafka.producer.acks=1", "a result must be on all in-sync replicas"},
    wrong_case{"kafka.acks=1", "kafka.acks=1 is refused"},
    wrong_case{"kafka.producer.enable.idempotence=0", "would publish a result twice"},
    wrong_case{"kafka.producer.retries=0", "kafka.producer.retries=0 is refused: without retries"},
    wrong_case{"kafka.producer.message.send.max.retries=0", "without retries"},
    wrong_case{"kafka.producer.queuing.strategy=lifo", "lifo would break"},
    wrong_case{"kafka.producer.max.in.flight=6", "at most 5 requests in flight"},
    wrong_case{"kafka.producer.max.in.flight.requests.per.connection=1000", "at most 5"},
    wrong_case{
      "kafka.producer.message.timeout.ms=9999",
      "kafka.producer.message.timeout.ms=9999 is refused: a result must be given 10000 ms"},
    wrong_case{"kafka.delivery.timeout.ms=1000", "kafka.delivery.timeout.ms=1000 is refused"},
    wrong_case{"kafka.producer.transaction.timeout.ms=19999",
               "at least shutdown.drain_ms + flush_ms + commit_ms, together 20000 ms"},
    wrong_case{"kafka.transaction.timeout.ms=19999",
               "kafka.transaction.timeout.ms=19999 is refused: transaction.timeout.ms 19999 must"},
    wrong_case{"kafka.producer.transaction.timeout.ms=30000",
               "kafka.producer.transaction.timeout.ms=30000 is refused", "shutdown.drain_ms=60000"},
    wrong_case{"shutdown.drain_ms=60000",
               "shutdown.drain_ms=60000 is refused: transaction.timeout.ms 30000 must be at least "
               "shutdown.drain_ms + flush_ms + commit_ms, together 70000 ms, or the broker aborts "
               "the results of a stop before they are committed: set "
               "kafka.producer.transaction.timeout.ms to 70000, or shorten the stop",
               "delivery.guarantee=exactly_once"},
    wrong_case{"shutdown.commit_ms=15001", "shutdown.commit_ms=15001 is refused",
               "delivery.guarantee=exactly_once"},
    wrong_case{"kafka.producer={\"transaction.timeout.ms\": 30000, \"message.timeout.ms\": 30001}",
               "must be at most transaction.timeout.ms 30000"},
    wrong_case{"kafka.producer.queue.buffering.max.kbytes=45738",
               "kafka.producer.queue.buffering.max.kbytes=45738 is refused: the producer's queue "
               "must hold one record of message.max.bytes 46836392, which follows jobs.max_bytes "
               "unless set: such a record would be refused for ever and block all records behind "
               "it. Set it to at least 45739"},
    wrong_case{"kafka.queue.buffering.max.kbytes=65536",
               "kafka.queue.buffering.max.kbytes=65536 is refused", "jobs.max_bytes=24MiB"},
    wrong_case{"kafka.producer.queue.buffering.max.kbytes=976",
               "hold one record of message.max.bytes 1000000,", "kafka.message.max.bytes=1000000"},
    wrong_case{"kafka.auto.offset.reset=latest", "ziyu would skip the jobs that are there already"},
    wrong_case{"kafka.consumer.auto.offset.reset=largest", "is refused"},
    wrong_case{"kafka.consumer.auto.commit.enable=true", "is refused"},
    wrong_case{"kafka.consumer.offset.store.method=file", "are lost with its machine"},
    wrong_case{"kafka.consumer.session.timeout.ms=8999",
               "kafka.consumer.session.timeout.ms=8999 is refused: heartbeat.interval.ms 3000 must "
               "be at most a third of session.timeout.ms 8999"},
    wrong_case{"kafka.heartbeat.interval.ms=15001", "kafka.heartbeat.interval.ms=15001 is refused"},
    wrong_case{"kafka.consumer.max.poll.interval.ms=44999",
               "must be at least session.timeout.ms 45000"},
    wrong_case{"kafka.statistics.interval.ms=0",
               "kafka.statistics.interval.ms=0 is refused: it must be 1 to 10000"},
    wrong_case{"kafka.consumer.statistics.interval.ms=0",
               "kafka.consumer.statistics.interval.ms=0 is refused",
               "kafka.statistics.interval.ms=1000"},
    wrong_case{"kafka.consumer.statistics.interval.ms=10001",
               "kafka.consumer.statistics.interval.ms=10001 is refused"},
    wrong_case{"kafka.producer.transactional.id=x", "is refused"},
    wrong_case{"kafka.isolation.level=read_uncommitted",
               "kafka.isolation.level=read_uncommitted is refused: jobs of aborted transactions "
               "would be worked on"},
    wrong_case{"kafka.consumer.isolation.level=read_uncommitted", "is refused"},
    wrong_case{
      "kafka.producer={\"message.timeout.ms\": 30000, \"delivery.timeout.ms\": 40000}",
      "kafka.producer.delivery.timeout.ms=40000 is refused: delivery.timeout.ms is another "
      "name of message.timeout.ms, and kafka.producer.message.timeout.ms=30000 would win"},
    wrong_case{"kafka.producer.delivery.timeout.ms=40000",
               "and kafka.message.timeout.ms=30000 would win", "kafka.message.timeout.ms=30000"},
    wrong_case{"kafka.producer.queue.buffering.max.ms=9",
               "linger.ms is another name of queue.buffering.max.ms", "kafka.linger.ms=7"},
    wrong_case{"kafka.producer.socket.timeout.ms=30101",
               "socket.timeout.ms must be at most transaction.timeout.ms + 100, which is 30100",
               "delivery.guarantee=exactly_once"},
    wrong_case{"kafka.message.max.bytes=1000",
               "kafka.message.max.bytes=1000 is refused: results and events need up to 65536"},
    wrong_case{"kafka.producer.message.max.bytes=65535", "a larger event is dropped"},
    wrong_case{"kafka.consumer.receive.message.max.bytes=20000000",
               "kafka.consumer.receive.message.max.bytes=20000000 is refused: a record with a job "
               "of jobs.max_bytes 16777216"},
    wrong_case{"jobs={\"max_bytes\": \"256MiB\", \"max_in_flight_bytes\": \"512MiB\"}",
               "jobs.max_bytes=268435456 is refused: an image goes to its worker in a frame"},
    wrong_case{"kafka.consumer={\"fetch.min.bytes\": [1]}",
               "a list is not a text or a number or true or false"}));

TEST(Config, AcceptsTheSafeValuesOfGuardedProperties) {
  EXPECT_THAT(errors_with({"kafka.enable.auto.offset.store=false",
                           "kafka.producer.acks=all",
                           "kafka.acks=-1",
                           "kafka.producer.enable.idempotence=true",
                           "kafka.consumer.enable.auto.commit=false",
                           "kafka.consumer.auto.commit.interval.ms=500",
                           "kafka.consumer.auto.offset.reset=earliest",
                           "kafka.producer.retries=10",
                           "kafka.producer.message.timeout.ms=10000",
                           "kafka.producer.max.in.flight=5",
                           "kafka.producer.transaction.timeout.ms=20000",
                           "kafka.session.timeout.ms=10000",
                           "kafka.heartbeat.interval.ms=3000",
                           "kafka.max.poll.interval.ms=10000",
                           "kafka.producer.queuing.strategy=fifo",
                           "kafka.statistics.interval.ms=0",
                           "kafka.consumer.statistics.interval.ms=10000",
                           "kafka.isolation.level=read_committed",
                           "kafka.producer.message.max.bytes=65536",
                           "kafka.delivery.timeout.ms=10000",
                           "kafka.consumer.receive.message.max.bytes=30000000"}),
              testing::IsEmpty());
  EXPECT_THAT(errors_with({"delivery.guarantee=exactly_once", "kafka.socket.timeout.ms=30100"}),
              testing::IsEmpty());
  EXPECT_THAT(errors_with({"kafka.socket.timeout.ms=60000"}), testing::IsEmpty())
    << "without transactions it is nobody's concern";
  EXPECT_THAT(
    errors_with({"jobs={\"max_bytes\": \"255MiB\", \"max_in_flight_bytes\": \"512MiB\"}"}),
    testing::IsEmpty());
}

TEST(Config, AcceptsAQueueThatHoldsTheLargestRecord) {
  EXPECT_THAT(errors_with({"kafka.producer.queue.buffering.max.kbytes=45739"}), testing::IsEmpty());
  EXPECT_THAT(errors_with({"kafka.producer.queue.buffering.max.kbytes=1000",
                           "kafka.producer.message.max.bytes=1000000"}),
              testing::IsEmpty());
  EXPECT_THAT(errors_with({"jobs.max_bytes=100MiB"}), testing::IsEmpty())
    << "unless set, the queue grows with the records";
}

TEST(Config, AcceptsAStopThatATransactionOutlasts) {
  EXPECT_THAT(errors_with({"delivery.guarantee=exactly_once"}), testing::IsEmpty());
  EXPECT_THAT(errors_with({"delivery.guarantee=exactly_once", "shutdown.drain_ms=20000"}),
              testing::IsEmpty())
    << "as long as a transaction, not longer";
  EXPECT_THAT(errors_with({"delivery.guarantee=exactly_once", "shutdown.drain_ms=60000",
                           "kafka.producer.transaction.timeout.ms=70000"}),
              testing::IsEmpty());
  EXPECT_THAT(errors_with({"shutdown.drain_ms=60000"}), testing::IsEmpty())
    << "without transactions nothing is aborted";
}

TEST(Config, MasksSecretsInLogs) {
  const auto shown = masked(json{{"kafka",
                                  {{"sasl.password", "p"},
                                   {"ssl.key.pem", "k"},
                                   {"sasl.oauthbearer.client.secret", "s"},
                                   {"group.id", "g"},
                                   {"producer", {{"ssl.key.password", "p"}}}}},
                                 {"list", {{{"api_token", "t"}}}}});
  EXPECT_EQ(shown["kafka"]["sasl.password"], "***");
  EXPECT_EQ(shown["kafka"]["ssl.key.pem"], "***");
  EXPECT_EQ(shown["kafka"]["sasl.oauthbearer.client.secret"], "***");
  EXPECT_EQ(shown["kafka"]["producer"]["ssl.key.password"], "***");
  EXPECT_EQ(shown["list"][0]["api_token"], "***");
  EXPECT_EQ(shown["kafka"]["group.id"], "g");
}
