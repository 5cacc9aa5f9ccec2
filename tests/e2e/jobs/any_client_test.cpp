// Ziyu needs no client of its own: any Kafka client can use it.

#include "e2e/support/shared_broker.hpp"
#include "e2e/support/stage.hpp"

#include <gmock/gmock.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;

TEST(AnyClient, KcatSubmitsAnImageAndReadsItsLabel) {
  stage x{shared_broker()};
  auto s = x.serve();
  const auto& image = digits().front();
  const auto sent = run_program({"/usr/bin/kcat", "-P", "-b", x.bootstrap(), "-t", x.topic("jobs"),
                                 "-k", "from-kcat", "-H", "traceparent=00-1-2-01",
                                 source_file("tests/data/digits/" + image.file).string()});
  ASSERT_EQ(sent.exit_code, 0) << sent.err;
  x.expect("from-kcat");
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  const auto got = run_program({"/usr/bin/kcat", "-C", "-b", x.bootstrap(), "-t",
                                x.topic("results"), "-o", "beginning", "-c", "1", "-q", "-f",
                                "%k %h %s\n"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.out, testing::StartsWith("from-kcat traceparent=00-1-2-01"));
  EXPECT_THAT(got.out, testing::HasSubstr("\"label\":\"" + image.label + "\""));
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(AnyClient, PythonSubmitsAJsonJobAndReadsItsLabel) {
  stage x{shared_broker()};
  auto s = x.serve();
  const auto& image = digits().back();
  const auto ran = run_program(
    {source_file(".deps/venv/bin/python").string(),
     source_file("tests/e2e/jobs/any_client.py").string(), x.bootstrap(), x.topic("jobs"),
     x.topic("results"), source_file("tests/data/digits/" + image.file).string(), "来自Python"});
  ASSERT_EQ(ran.exit_code, 0) << ran.err << s.log();
  EXPECT_THAT(ran.out, testing::StartsWith(image.label + " 0."));
  x.expect("来自Python");
  EXPECT_TRUE(x.read_all_answers()) << x.account();
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}

TEST(AnyClient, OurOwnCommandsSubmitAndReadToo) {
  stage x{shared_broker()};
  auto s = x.serve();
  const auto configuration = x.folder() / "client.json";
  must(write_file(configuration, x.configuration().dump()));
  const auto sent = run_program({ziyu_program(), "submit", "--config", configuration.string(),
                                 source_file("tests/data/digits/" + digits()[0].file).string(),
                                 source_file("tests/data/digits/" + digits()[1].file).string()});
  ASSERT_EQ(sent.exit_code, 0) << sent.err;
  std::istringstream ids{sent.out};
  for (std::string id; ids >> id;)
    x.expect(id);
  ASSERT_TRUE(x.read_all_answers()) << x.account() << s.log();
  EXPECT_EQ(x.results().size(), 2u);
  const auto got = run_program({ziyu_program(), "results", "--config", configuration.string(),
                                "--from", "beginning", "--count", "2", "--json"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  std::istringstream lines{got.out};
  std::multiset<std::string> labels;
  for (std::string line; std::getline(lines, line);)
    labels.insert(json::parse(line).at("label").get<std::string>());
  EXPECT_EQ(labels, (std::multiset<std::string>{digits()[0].label, digits()[1].label}));
  expect_all_accounted(x, s);
  EXPECT_EQ(s.stop(), 0) << s.log();
}
