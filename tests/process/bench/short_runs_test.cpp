// The short forms of the benchmarks that prove something: real workers, no Kafka.

#include "support/places.hpp"
#include "support/program.hpp"

#include <nlohmann/json.hpp>

using nlohmann::json;
using ziyu::test::program;

namespace {

/// Runs a benchmark that must succeed; what it printed.
json run(const std::string& name, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), ziyu::test::program_dir() + "/bench_" + name);
  program bench{std::move(arguments)};
  const auto code = bench.finish(std::chrono::seconds{240});
  EXPECT_EQ(code, 0) << bench.out() << bench.err();
  return json::parse(bench.out(), nullptr, false);
}

} // namespace

TEST(ShortRun, HealthyWorkersAreLeftAloneAndStayFlatToTheByte) {
  const auto x = run("healthy", {"--jobs", "4000"});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x.at("replacements"), 0);
  EXPECT_EQ(x.at("lost"), 0);
  EXPECT_EQ(x.at("live_drift_bytes"), 0);
  EXPECT_EQ(x.at("workers"), 2);
}

TEST(ShortRun, AllLeaksAreHealedWithinTheBudgetAndTheServiceStaysAsItIs) {
  const auto x = run("soak", {"--jobs", "3500", "--phase", "500"});
  ASSERT_TRUE(x.is_object());
  EXPECT_EQ(x.at("lost"), 0);
  EXPECT_EQ(x.at("dead_letters"), 0);
  EXPECT_TRUE(x.at("within_budget"));
  EXPECT_GT(x.at("replacements"), 0);
  EXPECT_EQ(x.at("fork_servers"), 1);
}
