// compose/prometheus/rules.yaml: promtool accepts the rules, each alert is tested and explained,
// and the rules use only what the service exports.

#include "actors/metrics.hpp"
#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace ziyu::actors {

namespace {

class Alerts : public ::testing::Test {
protected:
  using json = nlohmann::json;

  struct outcome {
    int code = -1;
    std::string out;
  };

  /// Runs a command in the folder of the rules.
  static outcome run(const std::string& command) {
    const auto folder = test::source_dir() + "/compose/prometheus";
    outcome result;
    auto* pipe = ::popen(("cd '" + folder + "' && " + command + " 2>&1").c_str(), "r");
    if (pipe == nullptr)
      return result;
    std::array<char, 4096> buffer;
    for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
      result.out.append(buffer.data(), n);
    result.code = ::pclose(pipe);
    return result;
  }

  static json read_yaml(const std::string& file) {
    const auto said = run("/usr/bin/python3 -c 'import json, sys, yaml; "
                          "json.dump(yaml.safe_load(open(sys.argv[1], \"rb\")), sys.stdout)' "
                          + file);
    auto result = json::parse(said.out, nullptr, false);
    EXPECT_TRUE(result.is_object()) << said.out;
    return result;
  }

  /// The rules that have `key` ("alert" or "record"), by name.
  static std::map<std::string, json> rules(const char* key) {
    const auto file = read_yaml("rules.yaml");
    std::map<std::string, json> result;
    for (const auto& group : file["groups"])
      for (const auto& rule : group["rules"])
        if (rule.contains(key)) {
          EXPECT_TRUE(result.emplace(rule[key].get<std::string>(), rule).second) << rule[key];
        }
    return result;
  }

  /// All expressions of the rules. A recorded metric stands as the counter that it is made of.
  static std::vector<std::string> expressions() {
    const std::regex recorded{R"(\w+:(ziyu_\w+):increase\w+)"};
    std::vector<std::string> result;
    for (const auto* key : {"alert", "record"})
      for (const auto& [name, rule] : rules(key))
        result.push_back(std::regex_replace(rule["expr"].get<std::string>(), recorded, "$1_total"));
    return result;
  }

  /// All matches, each with its groups.
  static std::vector<std::vector<std::string>> all_of(const std::string& text,
                                                      const std::string& what) {
    const std::regex shape{what};
    std::vector<std::vector<std::string>> result;
    for (std::sregex_iterator i{text.begin(), text.end(), shape}, end; i != end; ++i)
      result.emplace_back(i->begin(), i->end());
    return result;
  }

  /// The metrics of an expression: its words that are neither labels, functions nor operators.
  static std::set<std::string> metrics_in(std::string text) {
    for (const auto* other : {R"(\{[^}]*\})", R"(\[[^\]]*\])", R"(\boffset\s+\w+)", R"(\b[0-9]\w*)",
                              R"(\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\))",
                              R"(\w+\s*\()", R"(\b(and|or|unless|bool)\b)"})
      text = std::regex_replace(text, std::regex{other}, " ");
    std::set<std::string> result;
    for (const auto& word : all_of(text, R"([a-zA-Z_:][\w:]*)"))
      result.insert(word[0]);
    return result;
  }

  static std::string exported() {
    metrics stats;
    stats.begin_slots(1);
    stats.set_lag({{{"image.jobs", 0}, 7}});
    return "\n" + stats.text();
  }

  static std::string runbook() {
    return read_file(test::source_dir() + "/docs/runbook.md").value();
  }
};

} // namespace

TEST_F(Alerts, AreAcceptedByPrometheus) {
  const auto said = run("promtool check rules rules.yaml");
  EXPECT_EQ(said.code, 0) << said.out;
}

TEST_F(Alerts, FireWhenTheirTestsSaySo) {
  const auto said = run("promtool test rules rules_test.yaml");
  EXPECT_EQ(said.code, 0) << said.out;
}

TEST_F(Alerts, AreEachTestedWhenTheyFireAndWhenTheyDoNot) {
  const auto file = read_yaml("rules_test.yaml");
  std::map<std::string, std::pair<int, int>> tested;
  for (const auto& group : file["tests"])
    for (const auto& x : group["alert_rule_test"]) {
      EXPECT_EQ(x["alertname"], group["name"]) << "each group is about one alert";
      auto& [fires, rests] = tested[x["alertname"].get<std::string>()];
      ++(x.contains("exp_alerts") && !x["exp_alerts"].empty() ? fires : rests);
    }
  const auto alerts = rules("alert");
  EXPECT_GE(alerts.size(), 20u);
  for (const auto& [name, rule] : alerts) {
    EXPECT_GT(tested[name].first, 0) << name << " has no test in which it fires";
    EXPECT_GT(tested[name].second, 0) << name << " has no test in which it does not fire";
  }
}

TEST_F(Alerts, UseOnlyWhatTheServiceExports) {
  const auto all = exported();
  std::set<std::string> seen;
  for (const auto& text : expressions())
    seen.merge(metrics_in(text));
  EXPECT_TRUE(seen.contains("ziyu_breaker_state"));
  EXPECT_EQ(seen.erase("up"), 1u) << "Prometheus makes that one";
  for (const auto& [name, rule] : rules("record"))
    seen.erase(name);
  for (const auto& name : seen)
    EXPECT_TRUE(all.find("\n" + name + " ") != std::string::npos
                || all.find("\n" + name + "{") != std::string::npos)
      << "the service has no metric " << name;
}

TEST_F(Alerts, SelectOnlyValuesThatAreKnown) {
  const auto all = exported();
  auto selectors = 0;
  for (const auto& text : expressions()) {
    const auto found = all_of(text, R"re((\w+)\s*\{\s*(\w+)\s*(?:=|=~|!~)\s*"([^"]*)"\s*\})re");
    EXPECT_EQ(std::count(text.begin(), text.end(), '{'), found.size()) << text;
    for (const auto& x : found) {
      ++selectors;
      if (x[1] == "up")
        continue;
      for (const auto& value : all_of(x[3], "[^|]+"))
        EXPECT_NE(all.find("\n" + x[1] + "{" + x[2] + "=\"" + value[0] + "\"}"), std::string::npos)
          << x[0] << ": the service has no " << value[0];
    }
  }
  EXPECT_GE(selectors, 15);
}

TEST_F(Alerts, AreEachExplainedInTheRunbook) {
  const auto text = runbook();
  for (const auto& [name, rule] : rules("alert")) {
    auto anchor = name;
    std::transform(anchor.begin(), anchor.end(), anchor.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const auto& notes = rule["annotations"];
    EXPECT_EQ(notes["runbook_url"], "docs/runbook.md#" + anchor);
    EXPECT_FALSE(notes.value("summary", "").empty()) << name;
    EXPECT_FALSE(notes.value("description", "").empty()) << name;
    const auto severity = rule["labels"].value("severity", "");
    EXPECT_TRUE(severity == "critical" || severity == "warning") << name << ": " << severity;
    const auto begin = text.find("\n### " + name + "\n");
    if (begin == std::string::npos) {
      ADD_FAILURE() << "docs/runbook.md does not explain " << name;
      continue;
    }
    const auto section = text.substr(begin, text.find("\n##", begin + 1) - begin);
    for (const auto* part : {"**Symptom.**", "**Why.**", "**Look at.**", "**Do.**"})
      EXPECT_NE(section.find(part), std::string::npos) << name << " lacks " << part;
  }
}

TEST_F(Alerts, AreAllThatTheRunbookExplains) {
  const auto alerts = rules("alert");
  const auto text = runbook();
  for (const auto* name : {R"(\n### (\S+))", R"(\b(Ziyu[A-Z]\w+))"})
    for (const auto& x : all_of(text, name))
      EXPECT_TRUE(alerts.contains(x[1])) << "there is no alert " << x[1];
}

} // namespace ziyu::actors
