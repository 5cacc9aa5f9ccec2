// compose/compose.yaml is well formed, fits the configuration beside it, and starts the same parts
// as scripts/stack. This needs no docker engine.

#include "base/file.hpp"
#include "configs/config.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <regex>
#include <sstream>

using namespace ziyu;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const std::string root = test::source_dir();

struct outcome {
  int code = -1;
  std::string out;
};

outcome shell(const std::string& command) {
  outcome result;
  auto* pipe = ::popen(("cd '" + root + "' && " + command).c_str(), "r");
  if (pipe == nullptr)
    return result;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    result.out.append(buffer.data(), n);
  const auto status = ::pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

const std::vector<std::string> ziyu_services{"topics", "service", "feeder", "console"};

/// What docker-compose makes of the file, variables filled in.
/// @param variables "NAME=VALUE …" of the environment.
json compose(const std::string& variables = "") {
  const auto said = shell(
    variables
    + " docker-compose -f compose/compose.yaml config | "
      "/usr/bin/python3 -c 'import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), "
      "sys.stdout)'");
  return said.code == 0 ? json::parse(said.out, nullptr, false) : json{};
}

const configs::config& configuration() {
  static const auto result = [] {
    ::setenv("ZIYU_BROKERS", "kafka:9092", 1);
    ::setenv("ZIYU_HTTP_HOST", "0.0.0.0", 1);
    return configs::load(root + "/compose/ziyu.json").value().values;
  }();
  return result;
}

/// "30s", "1m", "1m0s" in milliseconds.
uint64_t milliseconds(const std::string& text) {
  static const std::regex shape{"(?:([0-9]+)m)?(?:([0-9]+)s)?"};
  std::smatch parts;
  if (!std::regex_match(text, parts, shape))
    return 0;
  const auto number = [&](size_t i) { return parts[i].length() > 0 ? std::stoull(parts[i]) : 0; };
  return (number(1) * 60 + number(2)) * 1000;
}

/// A limit of memory: "1g", "256m", or a number of bytes.
uint64_t bytes(const json& x) {
  if (x.is_number())
    return x.get<uint64_t>();
  const auto text = x.get<std::string>();
  const auto unit = text.back();
  return std::stoull(text) * (unit == 'g' ? 1 << 30 : unit == 'm' ? 1 << 20 : 1);
}

/// The commands that `scripts/stack plan` prints, by name.
std::map<std::string, std::vector<std::string>> plan() {
  std::map<std::string, std::vector<std::string>> result;
  std::istringstream lines{shell("scripts/stack plan --dir /tmp/none").out};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line.substr(line.find(':') + 1)};
    auto& command = result[line.substr(0, line.find(':'))];
    for (std::string word; words >> word;)
      command.push_back(word);
  }
  return result;
}

} // namespace

TEST(Compose, IsWellFormed) {
  const auto x = compose();
  ASSERT_TRUE(x.is_object());
  for (const auto* name : {"kafka", "topics", "service", "feeder", "console"})
    EXPECT_TRUE(x["services"].contains(name)) << name;
}

TEST(Compose, UsesTheKafkaThatTheTestsUse) {
  const auto x = compose();
  const auto pom = read_file(root + "/scripts/kafka/pom.xml").value();
  std::smatch version;
  ASSERT_TRUE(std::regex_search(pom, version, std::regex{"<kafka.version>(.*)</kafka.version>"}));
  EXPECT_EQ(x["services"]["kafka"]["image"], "apache/kafka:" + version[1].str());
}

TEST(Compose, StartsWhatTheStackStarts) {
  const auto x = compose();
  auto planned = plan();
  for (const auto& name : ziyu_services) {
    const auto command = x["services"][name]["command"].get<std::vector<std::string>>();
    auto own = planned[name];
    if (name == "service") {
      // The stack's port is any free one.
      ASSERT_EQ(own.size(), 4u);
      EXPECT_EQ(own[2], "--set");
      EXPECT_EQ(own[3], "http.port=0");
      own.resize(2);
    }
    if (name == "feeder") {
      // The same images, installed elsewhere.
      EXPECT_EQ(own.back(), root + "/tests/data/digits");
      own.back() = "/opt/ziyu/share/ziyu/images/digits";
    }
    EXPECT_EQ(own, command) << name;
  }
}

TEST(Compose, BuildsItsImageWhicheverServiceIsStarted) {
  const auto x = compose();
  for (const auto& name : ziyu_services) {
    const auto& service = x["services"][name];
    EXPECT_EQ(service["build"]["dockerfile"], "compose/Dockerfile") << name;
    EXPECT_EQ(service["pull_policy"], "build") << name << ": no registry has the image";
    EXPECT_EQ(service["platform"], "linux/amd64") << name;
  }
}

TEST(Compose, MountsTheModelThatTheEnvironmentNames) {
  const std::string inside = "/opt/ziyu/share/ziyu/models/digits/1";
  for (const auto& [variables, model] :
       {std::pair{std::string{}, root + "/models/digits/1"},
        std::pair{std::string{"ZIYU_MODEL=/data/models/resnet18/1"},
                  std::string{"/data/models/resnet18/1"}}}) {
    const auto volumes = compose(variables)["services"]["service"]["volumes"];
    const auto mounted = std::any_of(volumes.begin(), volumes.end(), [&](const json& x) {
      // docker-compose 1 writes "source:target:ro", docker-compose 2 an object.
      return x.is_string() ? x.get<std::string>() == model + ":" + inside + ":ro"
                           : x.value("source", "") == model && x.value("target", "") == inside
                               && x.value("read_only", false);
    });
    EXPECT_TRUE(mounted) << variables << " " << volumes.dump();
  }
  // The model is where the configuration looks for it.
  EXPECT_EQ(configuration().model.path.lexically_normal(), fs::path{root} / "models/digits/1");
}

TEST(Compose, AsksKafkaForItsHealthWithoutAJavaMachine) {
  const auto test = compose()["services"]["kafka"]["healthcheck"]["test"].dump();
  EXPECT_EQ(test.find("/opt/kafka"), test.npos) << test;
  EXPECT_EQ(test.find(".sh"), test.npos) << test;
}

TEST(Dockerfile, RunsAsANumberThatIsNotRoot) {
  const auto dockerfile = read_file(root + "/compose/Dockerfile").value();
  std::smatch user;
  ASSERT_TRUE(
    std::regex_search(dockerfile, user, std::regex{"\nUSER ([1-9][0-9]*):([1-9][0-9]*)\n"}));
  EXPECT_NE(dockerfile.find("--uid " + user[1].str() + " --gid " + user[2].str()),
            std::string::npos);
}

TEST(Compose, GivesTheServiceMoreTimeToEndThanItTakes) {
  const auto x = compose();
  const auto& c = configuration();
  EXPECT_GT(milliseconds(x["services"]["service"]["stop_grace_period"]),
            c.shutdown.drain_ms + c.workers.grace_ms + 9'000); // + leaving the group, flushing
}

TEST(Compose, LimitsTheServiceToWhatItsConfigurationPlansFor) {
  const auto x = compose();
  const auto& c = configuration();
  const auto& service = x["services"]["service"];
  const auto limit = bytes(service["mem_limit"]);
  EXPECT_EQ(limit, uint64_t{1} << 30);
  EXPECT_EQ(bytes(service["memswap_limit"]), limit) << "swap would hide a leak";
  // All workers at their budget, jobs in flight, and all other memory: below the share at which the
  // breaker opens.
  constexpr uint64_t others = uint64_t{142} << 20; // as ziyu.json says
  const auto workers = (c.workers.slots + c.workers.standbys) * c.memory.worker_budget_bytes;
  EXPECT_LT(static_cast<double>(workers + others), c.breaker.open_at * static_cast<double>(limit));
  // All serving workers at their hard limit: the kernel still need not kill.
  EXPECT_LT(c.workers.slots * c.memory.worker_hard_limit_bytes + c.memory.worker_budget_bytes
              + others + c.jobs.max_in_flight_bytes,
            limit);
}

TEST(Compose, ReachesTheServiceWhereItListens) {
  const auto x = compose();
  const auto& service = x["services"]["service"];
  EXPECT_EQ(configuration().http.host, "0.0.0.0") << "or no other container could ask";
  EXPECT_NE(service["ports"].dump().find(std::to_string(configuration().http.port)),
            std::string::npos);
  EXPECT_EQ(service["healthcheck"]["test"], (json{"CMD", "ziyu", "health", "--live"}));
  const auto dockerfile = read_file(root + "/compose/Dockerfile").value();
  EXPECT_NE(dockerfile.find("ZIYU_CONFIG=/opt/ziyu/share/ziyu/compose/ziyu.json"),
            std::string::npos);
}

TEST(Compose, NamesAKafkaTopicSizeThatTheBrokerTakes) {
  const auto x = compose();
  const auto& limit = x["services"]["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"];
  EXPECT_GE(std::stoull(limit.get<std::string>()), configs::max_record_bytes(configuration()));
}

TEST(ShippedConfiguration, CompressesResultsInAWayThatEveryClientReads) {
  for (const std::string file : {"/compose/ziyu.json", "/configs/ziyu.json"}) {
    configuration(); // sets what compose/ziyu.json takes from the environment
    const auto c = configs::load(root + file).value().values;
    const auto properties = configs::producer_properties(c);
    const auto found = properties.find("compression.type");
    const auto type = found == properties.end() ? std::string{"none"} : found->second;
    EXPECT_TRUE(type == "none" || type == "gzip") << file << ": " << type;
  }
}
