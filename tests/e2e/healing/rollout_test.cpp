// `ziyu rollout` on a running service: another version takes over while jobs come, and an unfit one
// does no harm.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// The digits model as another version, in a folder beside the first.
void add_version(const fs::path& parent, const std::string& version) {
  const auto folder = parent / version;
  fs::create_directories(folder);
  fs::copy(source_file("models/digits/1"), folder, fs::copy_options::recursive);
  auto description = json::parse(must(read_file(folder / "model.json")));
  description["version"] = version;
  must(write_file(folder / "model.json", description.dump()));
}

std::set<std::string> versions_of(const stage& x, const std::string& prefix) {
  std::set<std::string> versions;
  for (const auto& r : x.results())
    if (r.job_id().starts_with(prefix))
      versions.insert(r.document.at("model").at("version").get<std::string>());
  return versions;
}

} // namespace

TEST(Rollout, AnotherVersionTakesOverWhileJobsComeAndAnUnfitOneDoesNoHarm) {
  stage x{shared_broker()};
  const auto models = x.folder() / "数字";
  for (const auto* version : {"1", "2", "3"})
    add_version(models, version);
  must(write_file(models / "3" / "model.pt", std::string(1'000, 'x')));
  auto s = x.serve({{"model", {{"path", (models / "1").string()}}}});
  s.await_workers(2, 1);
  const auto rollout = [&](const std::string& version) {
    return run_program({ziyu_program(), "rollout", version, s.address()},
                       std::chrono::seconds{120});
  };

  x.submit_digits(300, "during");
  const auto done = rollout("2");
  EXPECT_EQ(done.exit_code, 0) << done.out << done.err << s.log();
  EXPECT_THAT(done.out, testing::HasSubstr("serving  digits/2"));
  EXPECT_THAT(done.out, testing::HasSubstr("finished"));
  x.submit_digits(60, "after");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_THAT(versions_of(x, "after"), testing::ElementsAre("2"));
  EXPECT_GT(x.accuracy(), 0.9);

  const auto unfit = rollout("3");
  EXPECT_EQ(unfit.exit_code, 1) << unfit.out << unfit.err;
  EXPECT_THAT(unfit.out, testing::HasSubstr("rejected"));
  x.submit_digits(60, "then");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_THAT(versions_of(x, "then"), testing::ElementsAre("2"));

  const auto none = rollout("4");
  EXPECT_EQ(none.exit_code, 1);
  EXPECT_THAT(none.err, testing::HasSubstr("there is no version \"4\""));
  EXPECT_THAT(none.err, testing::HasSubstr("1, 2, 3"));
  EXPECT_EQ(rollout("../数字/1").exit_code, 1) << "a name, not a path";

  EXPECT_TRUE(x.read_event("rollout_finished")) << s.log();
  EXPECT_TRUE(x.read_event("rollout_rejected")) << s.log();
  EXPECT_TRUE(x.events("worker_died").empty());
  EXPECT_TRUE(x.events("breaker_opened").empty());
  EXPECT_EQ(s.get_json("/models").at("models").size(), 1u);
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
