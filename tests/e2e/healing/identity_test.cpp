// The model that a result names is the one that its worker was forked with, not the current one.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

#include <csignal>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

TEST(Identity, AnAnswerNamesTheModelThatItsWorkerWasForkedWith) {
  stage x{shared_broker()};
  const auto folder = x.folder() / "digits";
  std::filesystem::copy(source_file("models/digits/1"), folder);
  auto s = x.serve({{"model", {{"path", folder.string()}}}, {"restart", {{"intensity", 1000}}}});
  s.await_workers(2, 1);
  auto description = json::parse(must(read_file(folder / "model.json")));
  description["version"] = "2";
  must(write_file(folder / "model.json", description.dump()));
  const auto old = s.workers();
  ASSERT_EQ(::kill(s.fork_server(), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] {
    const auto model = s.get_json("/health").at("model");
    return model.is_object() && model.at("version") == "2";
  }))
    << s.log();

  const auto version_of_all = [&](const std::string& prefix) {
    std::set<std::string> versions;
    for (const auto& r : x.results())
      if (r.job_id().starts_with(prefix)) {
        versions.insert(r.document.at("model").at("version"));
        const auto is_old = std::count(old.begin(), old.end(),
                                       r.document.at("worker").at("pid").get<int32_t>());
        EXPECT_EQ(r.document.at("model").at("version"), is_old != 0 ? "1" : "2") << r.document;
      }
    return versions;
  };
  x.submit_digits(40, "old");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_THAT(version_of_all("old"), testing::ElementsAre("1")) << "the workers of before serve";
  for (auto pid : old)
    ::kill(pid, SIGKILL);
  ASSERT_TRUE(eventually([&] {
    const auto now = s.workers("serving");
    return now.size() == 2 && std::none_of(now.begin(), now.end(), [&](auto pid) {
             return std::count(old.begin(), old.end(), pid) != 0;
           });
  }))
    << s.log();
  x.submit_digits(40, "new");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_THAT(version_of_all("new"), testing::ElementsAre("2"));
  EXPECT_EQ(s.stop(), 0) << s.log();
}
