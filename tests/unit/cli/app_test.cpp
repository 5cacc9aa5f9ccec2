#include "cli/app.hpp"

#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/completion.hpp"
#include "cli/kafka/connection.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

using namespace ziyu;
using namespace ziyu::cli;

namespace {

/// What one run of the program said.
struct said {
  int exit_code;
  std::string out, err;
};

said ziyu_with(std::vector<const char*> arguments) {
  ::unsetenv("ZIYU_CONFIG");
  arguments.insert(arguments.begin(), "ziyu");
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const auto code = run(static_cast<int>(arguments.size()), arguments.data());
  auto err = testing::internal::GetCapturedStderr();
  return {code, testing::internal::GetCapturedStdout(), std::move(err)};
}

void for_each_command(CLI::App& app, const std::function<void(CLI::App&, bool is_leaf)>& visit) {
  const auto children = app.get_subcommands([](CLI::App*) { return true; });
  visit(app, children.empty());
  for (auto* x : children)
    for_each_command(*x, visit);
}

class AppTree : public ::testing::Test {
protected:
  AppTree() { set_up(app, code); }
  int code = 0;
  CLI::App app;
};

} // namespace

TEST(App, ShowsItsHelpAndFailsWithoutACommand) {
  const auto x = ziyu_with({});
  EXPECT_EQ(x.exit_code, exit_wrong_usage);
  EXPECT_EQ(x.out, "");
  EXPECT_NE(x.err.find("Subcommands:"), std::string::npos);
}

TEST(App, PrintsHelpToStandardOutput) {
  const auto x = ziyu_with({"--help"});
  EXPECT_EQ(x.exit_code, exit_ok);
  EXPECT_EQ(x.err, "");
  for (const auto* command :
       {"serve", "check", "topics", "submit", "results", "events", "dlq", "leaks", "top", "breaker",
        "demo", "doctor", "broker", "completion", "自愈"})
    EXPECT_NE(x.out.find(command), std::string::npos) << command;
}

TEST_F(AppTree, EachCommandHasADescriptionAndListsItsExitCodes) {
  for_each_command(app, [](CLI::App& x, bool) {
    EXPECT_NE(x.get_description(), "") << x.get_name();
    EXPECT_NE(x.help().find("Exit codes:"), std::string::npos) << x.get_name() << x.help();
  });
}

TEST_F(AppTree, EachOptionHasADescription) {
  for_each_command(app, [](CLI::App& x, bool) {
    for (const auto* option : x.get_options())
      EXPECT_NE(option->get_description(), "") << x.get_name() << " " << option->get_name();
  });
}

TEST_F(AppTree, EachCommandThatAsksABrokerCanBeVerbose) {
  for (const auto* name : {"check", "submit", "results", "events", "leaks", "demo", "broker"})
    EXPECT_NE(app.get_subcommand(name)->get_option_no_throw("--verbose"), nullptr) << name;
}

TEST(App, SuggestsTheNearestCommand) {
  const auto x = ziyu_with({"reslts"});
  EXPECT_EQ(x.exit_code, exit_wrong_usage);
  EXPECT_EQ(x.err, "ziyu: unknown command reslts; did you mean results?\nTry `ziyu --help`.\n");
  EXPECT_EQ(ziyu_with({"dlq", "lst"}).err,
            "ziyu: unknown command lst; did you mean list?\nTry `ziyu dlq --help`.\n");
}

TEST(App, SuggestsTheNearestFlag) {
  const auto x = ziyu_with({"results", "-b", "x:1", "--cout", "3"});
  EXPECT_EQ(x.exit_code, exit_wrong_usage);
  EXPECT_EQ(x.err,
            "ziyu: unknown flag --cout; did you mean --count?\nTry `ziyu results --help`.\n");
  EXPECT_NE(ziyu_with({"results", "--idel=3"}).err.find("--idel; did you mean --idle?"),
            std::string::npos);
  EXPECT_NE(ziyu_with({"--versoin"}).err.find("did you mean --version?"), std::string::npos);
}

TEST(App, SuggestsNothingWhereNothingIsNear) {
  EXPECT_EQ(ziyu_with({"xylophone"}).err, "ziyu: unknown command xylophone\nTry `ziyu --help`.\n");
}

TEST(App, RefusesWrongValues) {
  for (const auto& arguments : std::vector<std::vector<const char*>>{
         {"results", "-b", "x:1", "--from", "middle"},
         {"results", "-b", "x:1", "--count", "many"},
         {"results", "-b", "x:1", "--timeout", "0"},
         {"submit", "-b", "x:1", "--format", "xml", "f"},
         {"submit", "-b", "x:1", "--repeat", "0", "f"},
         {"submit", "-b", "x:1"},
         {"demo", "--jobs", "0"},
         {"leaks", "-b", "x:1", "surplus"},
         {"leaks", "show", "-b", "x:1"},
         {"top", "--interval", "0"},
         {"top", "a:1", "b:2"},
         {"doctor"},
         {"doctor", "m", "--jobs", "0"},
         {"dlq"},
         {"topics"},
         {"completion"},
         {"serve"},
         {"broker"},
       }) {
    const auto x = ziyu_with(arguments);
    EXPECT_EQ(x.exit_code, exit_wrong_usage) << arguments.front() << ": " << x.err;
    EXPECT_EQ(x.out, "");
    EXPECT_TRUE(x.err.starts_with("ziyu: ")) << x.err;
    EXPECT_NE(x.err.find("--help`"), std::string::npos) << x.err;
  }
}

TEST(App, RefusesUnknownFaultsOfTheDemoBeforeItStartsAnything) {
  const auto x = ziyu_with({"demo", "--leak", "retain_everything"});
  EXPECT_EQ(x.exit_code, exit_wrong_usage);
  EXPECT_TRUE(x.err.starts_with("ziyu: --leak: ")) << x.err;
  for (const auto* file : {"/dev/null/r.json", "/no/such/folder/r.json", "/dev"})
    EXPECT_EQ(ziyu_with({"demo", "--report", file}).exit_code, exit_wrong_usage) << file;
  const auto kept = ziyu_with({"demo", "--chart", "", "--keep", "/dev/null/x"});
  EXPECT_EQ(kept.exit_code, exit_wrong_usage);
  EXPECT_EQ(kept.err, "ziyu: --keep /dev/null/x: Not a directory\n");
}

TEST(App, AsksForABroker) {
  for (const auto* command : {"results", "events"}) {
    const auto x = ziyu_with({command});
    EXPECT_EQ(x.exit_code, exit_wrong_usage);
    EXPECT_NE(x.err.find("--brokers"), std::string::npos);
  }
}

TEST(App, NamesEachMistakeOfAConfiguration) {
  const auto x = ziyu_with(
    {"results", "-b", "x:1", "--set", "workers.slts=4", "--set", "breaker.open_at=7"});
  EXPECT_EQ(x.exit_code, exit_wrong_usage);
  EXPECT_NE(x.err.find("workers.slots"), std::string::npos) << x.err;
  EXPECT_NE(x.err.find("breaker.open_at"), std::string::npos) << x.err;
}

TEST(App, RefusesHeadersWithoutAName) {
  for (const auto* header : {"novalue", "=x"}) {
    const auto x = ziyu_with({"submit", "-b", "127.0.0.1:1", "--header", header, "/dev/null"});
    EXPECT_EQ(x.exit_code, exit_wrong_usage);
    EXPECT_NE(x.err.find("expected NAME=VALUE"), std::string::npos) << x.err;
  }
}

// -- connection options ---------------------------------------------------------------

namespace {

std::optional<configs::config> loaded_with(std::vector<const char*> arguments) {
  ::unsetenv("ZIYU_CONFIG");
  arguments.insert(arguments.begin(), "x");
  CLI::App app;
  connection_options options;
  options.add_to(app);
  app.parse(static_cast<int>(arguments.size()), arguments.data());
  testing::internal::CaptureStderr();
  std::optional<configs::config> result;
  const auto code = options.use([&](const configs::config& x) {
    result = x;
    return int{exit_ok};
  });
  testing::internal::GetCapturedStderr();
  EXPECT_EQ(code, result ? exit_ok : exit_wrong_usage);
  return result;
}

} // namespace

TEST(ConnectionOptions, BrokersAloneAreEnough) {
  const auto x = loaded_with({"--brokers", "a:1,b:2"});
  ASSERT_TRUE(x);
  EXPECT_EQ(configs::common_properties(*x).at("bootstrap.servers"), "a:1,b:2");
  EXPECT_EQ(x->topics.results, "image.results");
}

TEST(ConnectionOptions, BrokersAndSetOverrideTheFile) {
  const auto file = test::source_dir() + "/configs/ziyu.json";
  const auto x = loaded_with(
    {"--config", file.c_str(), "-b", "b:2", "--set", "topics.results=other"});
  ASSERT_TRUE(x);
  EXPECT_EQ(configs::common_properties(*x).at("bootstrap.servers"), "b:2");
  EXPECT_EQ(x->topics.results, "other");
  EXPECT_EQ(configs::common_properties(*loaded_with({"-c", file.c_str()})).at("bootstrap.servers"),
            "127.0.0.1:9092");
}

TEST(ConnectionOptions, NothingIsRefused) {
  EXPECT_FALSE(loaded_with({}));
  EXPECT_FALSE(loaded_with({"-c", "/nonexistent.json"}));
}

TEST(ExitCodes, TellAnAbsentBrokerFromAWrongOne) {
  EXPECT_EQ(exit_code_for({errc::unavailable, ""}), exit_unavailable);
  EXPECT_EQ(exit_code_for({errc::timeout, ""}), exit_unavailable);
  EXPECT_EQ(exit_code_for({errc::invalid_config, ""}), exit_wrong_usage);
  EXPECT_EQ(exit_code_for({errc::kafka, ""}), exit_failed);
}

// -- completion -----------------------------------------------------------------------

TEST_F(AppTree, FishCompletionKnowsCommandsFlagsAndTheirTexts) {
  const auto script = completion_script(app, shell::fish);
  for (const auto* line :
       {"complete -c ziyu -n '__fish_use_subcommand' -f -a results -d 'Show results as they "
        "come'\n",
        "complete -c ziyu -n '__fish_seen_subcommand_from dlq; and not __fish_seen_subcommand_from"
        " list summary show replay drop' -f -a list -d",
        "complete -c ziyu -n '__fish_seen_subcommand_from results' -l count -r -f -d",
        "complete -c ziyu -n '__fish_seen_subcommand_from results' -l config -r -d",
        "complete -c ziyu -n '__fish_seen_subcommand_from results' -l json -d"})
    EXPECT_NE(script.find(line), std::string::npos) << line;
}

TEST_F(AppTree, ZshCompletionServesAsFunctionAndAsScript) {
  const auto script = completion_script(app, shell::zsh);
  EXPECT_TRUE(script.starts_with("#compdef ziyu\n"));
  EXPECT_NE(script.find("'ziyu dlq list') offered='"), std::string::npos);
  EXPECT_NE(script.find("compdef _ziyu_complete ziyu"), std::string::npos);
}

TEST_F(AppTree, EachCommandAndFlagIsInEachScript) {
  for (const auto kind : {shell::bash, shell::zsh, shell::fish}) {
    const auto script = completion_script(app, kind);
    for_each_command(app, [&](CLI::App& x, bool) {
      EXPECT_NE(script.find(x.get_name()), std::string::npos) << x.get_name();
      for (const auto* option : x.get_options())
        for (const auto& name : option->get_lnames())
          EXPECT_NE(script.find(name), std::string::npos) << name;
    });
  }
}
