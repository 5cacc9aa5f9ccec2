// `ziyu doctor` with real workers: its findings for healthy and for leaking models, and what is
// left when it is interrupted.

#include "base/file.hpp"
#include "supervision/process.hpp"
#include "support/orphans.hpp"
#include "support/places.hpp"
#include "support/program.hpp"
#include "support/xml.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;
using ::testing::StartsWith;

namespace {

const std::string sources = test::source_dir();
const std::string digits = sources + "/models/digits/1";
const std::string leaky = sources + "/tests/data/models/leaky/1";
const std::string caching = sources + "/tests/data/models/caching/1";
const std::string some_images = sources + "/tests/data/digits";

class Doctor : public ::testing::Test {
protected:
  static void SetUpTestSuite() { supervision::become_subreaper(); }

  static std::vector<std::string> command(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {test::program_dir() + "/ziyu", "doctor"});
    return arguments;
  }

  struct said {
    int exit_code;
    std::string out, err;
  };

  static said doctor(std::vector<std::string> arguments) {
    program x{command(std::move(arguments))};
    const auto code = x.finish();
    EXPECT_TRUE(no_child_is_left());
    return {code, x.out(), x.err()};
  }

  /// The findings; null when it failed or its exit code does not match them.
  static json findings(int exit_code, std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const auto x = doctor(std::move(arguments));
    EXPECT_EQ(x.exit_code, exit_code) << x.out << x.err;
    auto result = json::parse(x.out, nullptr, false);
    if (!result.is_object())
      return nullptr;
    EXPECT_EQ(result["exit_code"], exit_code);
    return result;
  }

  temp_dir dir{"ziyu-doctor-test"};
};

class DoctorInterrupted : public Doctor, public ::testing::WithParamInterface<int> {};

void expect_keys(const json& x, const std::vector<const char*>& keys) {
  for (const auto* key : keys)
    EXPECT_TRUE(x.contains(key)) << key << " in " << x.dump();
}

bool names_a_function(const json& site, const std::string& part) {
  for (const auto& frame : site["full_stack"])
    if (frame.value("function", "").find(part) != std::string::npos)
      return true;
  return false;
}

} // namespace

TEST_F(Doctor, FindsAHealthyModelHealthyAndSaysWhatItNeeds) {
  const auto x = findings(0, {digits, "--container", "1GiB"});
  ASSERT_TRUE(x.is_object());
  expect_keys(x, {"schema", "health", "summary", "model", "images", "jobs", "failed_jobs",
                  "bad_images", "verdict", "explanation", "trim", "sizes", "fork_server", "worker",
                  "recommendation", "series"});
  EXPECT_EQ(x["health"], "healthy");
  // With pictures of such different sizes the allocator may take some hundred jobs to settle.
  EXPECT_THAT(x["summary"].get<std::string>(), StartsWith("no leak"));
  EXPECT_GE(x["jobs"], 200);
  EXPECT_EQ(x["failed_jobs"], 0);
  EXPECT_EQ(x["explanation"], nullptr);
  EXPECT_EQ(x["series"]["rows"].size(), x["jobs"]);
  EXPECT_EQ(x["verdict"]["live"]["bytes_per_job"], 0);

  // Each picture made here was decoded to its size, and more pixels take more memory.
  ASSERT_EQ(x["sizes"].size(), 9);
  for (const auto& row : x["sizes"]) {
    const auto size = std::to_string(row["width"].get<int>()) + "x"
                      + std::to_string(row["height"].get<int>()) + " ";
    EXPECT_THAT(row["image"].get<std::string>(), HasSubstr(size));
    EXPECT_GE(row["peak_private_bytes"], row["idle_private_bytes"]);
  }
  const auto &smallest = x["sizes"].front(), &largest = x["sizes"].back();
  EXPECT_EQ(largest["decoded_bytes"], 36'000'000);
  EXPECT_GE(largest["peak_private_bytes"], 36'000'000);
  EXPECT_LT(smallest["peak_private_bytes"], 36'000'000);

  const auto& advice = x["recommendation"];
  EXPECT_EQ(advice["fits"], true);
  EXPECT_EQ(advice["container_bytes"], 1u << 30);
  EXPECT_GT(advice["config"]["memory"]["worker_budget_bytes"], largest["peak_private_bytes"]);
  EXPECT_GT(advice["config"]["memory"]["worker_hard_limit_bytes"],
            advice["config"]["memory"]["worker_budget_bytes"]);
  EXPECT_GE(x["fork_server"]["resident_bytes"], x["worker"]["idle_private_bytes"]);
}

TEST_F(Doctor, NamesTheLeakOfAModelWhoseForwardKeepsState) {
  const auto chart = dir.path() / "memory.svg", flame = dir.path() / "leak.folded";
  const auto x = findings(
    3, {leaky, "--images", some_images, "--svg", chart.string(), "--flame", flame.string()});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x["health"], "leaks");
  EXPECT_EQ(x["verdict"]["kind"], "leak");
  // A tensor of 64 KiB per call and what belongs to it.
  EXPECT_THAT(x["verdict"]["live"]["bytes_per_job"].get<double>(), AllOf(Ge(65'536), Le(67'000)));
  EXPECT_THAT(x["verdict"]["confirmed_at_job"].get<int>(), AllOf(Ge(1), Le(64)));
  const auto& why = x["explanation"];
  ASSERT_TRUE(why.is_object());
  EXPECT_EQ(why["cause"], "retained_tensors");
  ASSERT_FALSE(why["sites"].empty());
  const auto& site = why["sites"].front();
  EXPECT_EQ(site["cause"], "retained_tensors");
  EXPECT_GE(site["share"], 0.8);
  EXPECT_TRUE(names_a_function(site, "torch::jit")) << site;
  const auto truth = 65'536. * why["jobs"].get<double>();
  EXPECT_THAT(site["bytes"].get<double>() / truth, AllOf(Ge(0.8), Le(1.2)));
  EXPECT_EQ(read_xml(read_file(chart).value()).front().name, "svg");
  EXPECT_THAT(read_file(flame).value(), HasSubstr("torch::jit"));
}

TEST_F(Doctor, DoesNotCallACacheThatFillsALeak) {
  // The model keeps 64 KiB of each of its latest 300 inputs, some of them from the warm-up.
  const auto x = findings(0, {caching, "--images", some_images});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x["health"], "healthy");
  EXPECT_THAT(x["summary"].get<std::string>(), ContainsRegex("grows for 2[0-9]+ jobs, then flat"));
  EXPECT_GT(x["jobs"], 270);
  EXPECT_THAT(x["verdict"]["ended_at_bytes"].get<int64_t>(),
              AllOf(Ge(270 * 65'536), Le(300 * 67'000)));
  EXPECT_GE(x["recommendation"]["config"]["memory"]["worker_budget_bytes"], 270 * 65'536);

  const auto few = findings(1, {caching, "--images", some_images, "--jobs", "20"});
  EXPECT_EQ(few["health"], "unjudged");
  EXPECT_EQ(few["jobs"], 200) << "ten times as many as were asked for";
  EXPECT_THAT(few["summary"].get<std::string>(), StartsWith("not decided within 200 jobs"));

  const auto declared = findings(3, {caching, "--images", some_images, "--cache", "4MiB"});
  EXPECT_EQ(declared["health"], "leaks");
  const auto none = findings(3, {leaky, "--images", some_images, "--cache", "0"});
  EXPECT_THAT(none["jobs"].get<int>(), Le(250));
}

TEST_F(Doctor, NamesAnInjectedLeak) {
  const auto x = findings(3, {digits, "--images", some_images, "--fault", "native_malloc:64KiB"});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x["explanation"]["cause"], "native_allocation");
  EXPECT_TRUE(names_a_function(x["explanation"]["sites"].front(), "fault_injector"));
}

TEST_F(Doctor, TellsHoardingThatATrimGivesBackFromALeak) {
  const auto x = findings(0, {digits, "--images", some_images, "--fault", "fragment:1MiB"});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x["verdict"]["kind"], "hoarding");
  EXPECT_EQ(x["trim"]["sufficed"], true);
  EXPECT_GE(x["trim"]["before_bytes"].get<int64_t>() - x["trim"]["after_bytes"].get<int64_t>(),
            100 << 20);
  EXPECT_EQ(x["explanation"], nullptr);
}

TEST_F(Doctor, SaysItToPeople) {
  const auto x = doctor({digits, "--images", some_images, "--container", "2GiB", "--slots", "3"});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  EXPECT_EQ(x.err, "");
  for (const auto* part :
       {"HEALTHY  digits version 1", "no leak in 200 jobs", "fork server", "OVER IDLE",
        "worker_budget_bytes = peak", "\"slots\": 3", "3 slots need a container of"})
    EXPECT_THAT(x.out, HasSubstr(part));
  EXPECT_THAT(x.out, Not(HasSubstr("\x1b")));
}

TEST_F(Doctor, RefusesWhatItCannotExamine) {
  const auto missing = doctor({"/nonexistent/model/1"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_THAT(missing.err, HasSubstr("/nonexistent/model/1"));
  EXPECT_EQ(missing.out, "");
  for (const auto& [arguments, word] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
         {{"--images", "/nonexistent"}, "--images"},
         {{"--images", digits}, "no images"},
         {{"--container", "much"}, "--container"},
         {{"--fault", "everything"}, "--fault"},
         {{"--svg", "/nonexistent/x.svg"}, "--svg"},
       }) {
    auto all = arguments;
    all.push_back(digits);
    const auto x = doctor(all);
    EXPECT_EQ(x.exit_code, 2) << word;
    EXPECT_THAT(x.err, HasSubstr(word));
  }
}

TEST_F(Doctor, CountsAndNamesBadImages) {
  std::filesystem::copy(some_images + "/0_024.png", dir.path() / "good.png");
  std::filesystem::copy(sources + "/tests/data/bad/truncated.png", dir.path() / "bad.png");
  const auto x = findings(0, {digits, "--images", dir.path().string(), "--jobs", "60"});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x["failed_jobs"], 30);
  ASSERT_EQ(x["bad_images"].size(), 1);
  EXPECT_EQ(x["bad_images"][0]["image"], "bad.png");
  EXPECT_EQ(x["bad_images"][0]["code"], "undecodable_image");
  EXPECT_EQ(x["sizes"].size(), 1);
}

TEST_F(Doctor, DoesNotJudgeWithoutEnoughResults) {
  const auto few = findings(1, {digits, "--images", some_images, "--jobs", "3"});
  EXPECT_EQ(few["health"], "unjudged");
  EXPECT_THAT(few["summary"].get<std::string>(), HasSubstr("try more"));
  const auto none = findings(1, {digits, "--images", sources + "/tests/data/bad"});
  EXPECT_EQ(none["health"], "unjudged");
  EXPECT_EQ(none["failed_jobs"], none["jobs"]);
}

TEST_F(Doctor, SaysHowAWorkerFailed) {
  const auto crashed = findings(1, {digits, "--images", some_images, "--fault", "crash"});
  EXPECT_EQ(crashed["health"], "unjudged");
  EXPECT_THAT(crashed["failure"].get<std::string>(), HasSubstr("SIGSEGV"));
  EXPECT_EQ(crashed["jobs"], 0);
  const auto hung = findings(
    1, {digits, "--images", some_images, "--fault", "hang", "--timeout", "0.2"});
  EXPECT_THAT(hung["failure"].get<std::string>(), HasSubstr("did not answer in time"));
}

TEST_P(DoctorInterrupted, LeavesNoProcessBehind) {
  program x{command({digits, "--images", some_images, "--jobs", "10000000"}),
            program::output::terminal};
  ASSERT_TRUE(x.wait_for("judging")) << x.out();
  x.signal(GetParam());
  EXPECT_EQ(x.finish(), GetParam() == SIGKILL ? 128 + SIGKILL : 130) << x.out();
  EXPECT_TRUE(no_child_is_left());
}

INSTANTIATE_TEST_SUITE_P(By, DoctorInterrupted, ::testing::Values(SIGINT, SIGTERM, SIGKILL));
