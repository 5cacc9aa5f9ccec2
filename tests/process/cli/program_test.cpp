// The program `ziyu` as its users see it: arguments, exit codes, streams, terminals.

#include "support/program.hpp"

#include "base/file.hpp"
#include "support/places.hpp"
#include "support/silent_port.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace ziyu;
using namespace ziyu::test;
using nlohmann::json;

namespace {

const std::string binary = test::program_dir() + "/ziyu";
const std::string sources = test::source_dir();
const std::string an_image = sources + "/tests/data/digits/0_024.png";

std::vector<std::string> ziyu_with(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), binary);
  return arguments;
}

struct ended {
  int exit_code;
  std::string out, err;
};

ended run(std::vector<std::string> arguments, const std::string& input = "") {
  program x{ziyu_with(std::move(arguments)), program::output::pipes, {{"ZIYU_CONFIG", ""}}, input};
  const auto code = x.finish();
  return {code, x.out(), x.err()};
}

std::string file_with(const temp_dir& dir, const std::string& name, const std::string& text) {
  const auto path = dir.path() / name;
  EXPECT_TRUE(write_file(path, text));
  return path.string();
}

} // namespace

TEST(Program, ShowsHelpAndFailsWithoutArguments) {
  const auto x = run({});
  EXPECT_EQ(x.exit_code, 2);
  EXPECT_EQ(x.out, "");
  EXPECT_NE(x.err.find("Exit codes:"), x.err.npos);
}

TEST(Program, PrintsHelp) {
  const auto x = run({"submit", "--help"});
  EXPECT_EQ(x.exit_code, 0);
  EXPECT_NE(x.out.find("--id-prefix"), x.out.npos);
  EXPECT_EQ(x.err, "");
}

TEST(Program, NamesTheVersionsOfItsLibraries) {
  const auto x = run({"--version"});
  EXPECT_EQ(x.exit_code, 0);
  EXPECT_EQ(x.err, "");
  EXPECT_TRUE(x.out.starts_with("ziyu "));
  for (const auto* name : {"caf 0.17", "librdkafka 2.", "nlohmann_json 3.", "openssl ", "torch ",
                           "libjpeg ", "libpng 1.6", "libtiff 4.", "libwebp 1.", "jemalloc 5."})
    EXPECT_NE(x.out.find(name), x.out.npos) << name << " in\n" << x.out;
}

TEST(Program, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(run({"results", "--jsno"}).exit_code, 2);
  const auto x = run({"sumbit"});
  EXPECT_EQ(x.exit_code, 2);
  EXPECT_NE(x.err.find("did you mean submit?"), x.err.npos);
}

TEST(Program, NoticesThatItsOutputCannotBeWritten) {
  program x{{"/bin/sh", "-c", "exec \"$0\" --version > /dev/full", binary}};
  EXPECT_EQ(x.finish(), 1);
  EXPECT_NE(x.err().find("standard output"), std::string::npos);
}

TEST(Program, NoticesThatItsHelpCannotBeWritten) {
  program x{{"/bin/sh", "-c", "exec \"$0\" --help > /dev/full", binary}};
  EXPECT_EQ(x.finish(), 1);
  EXPECT_NE(x.err().find("standard output cannot be written"), std::string::npos) << x.err();
}

TEST(Program, WritesNothingIntoWhatTookThePlaceOfAClosedStream) {
  temp_dir dir;
  const auto file = (dir.path() / "c.json").string();
  const auto shell = [&](const std::string& command) {
    program x{
      {"/bin/sh", "-c", command, binary, file}, program::output::pipes, {{"ZIYU_CONFIG", ""}}};
    return std::pair{x.finish(), x.err()};
  };
  EXPECT_EQ(shell("exec \"$0\" config init \"$1\" <&- >&- 2>&-").first, 0);
  const auto [code, err] = shell("exec \"$0\" check --offline \"$1\" >&-");
  EXPECT_NE(code, 0);
  EXPECT_NE(err.find("standard output cannot be written"), std::string::npos) << err;
  const auto written = read_file(file);
  ASSERT_TRUE(written);
  EXPECT_TRUE(written->starts_with("//")) << *written;
  EXPECT_EQ(written->find("is written"), std::string::npos);
}

TEST(Program, IsNotKilledByAReaderThatHasSeenEnough) {
  program x{ziyu_with(
    {"classify", "--model", sources + "/models/digits/1", sources + "/tests/data/digits"})};
  x.close_standard_output();
  EXPECT_EQ(x.finish(), 0) << x.err();
  program y{ziyu_with({"completion", "bash"})};
  y.close_standard_output();
  EXPECT_EQ(y.finish(), 0) << y.err();
}

TEST(Program, RefusesNumbersThatAreNone) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
         {"results", "-b", "127.0.0.1:1", "--timeout", "nan"},
         {"results", "-b", "127.0.0.1:1", "--count", "-1"},
         {"results", "-b", "127.0.0.1:1", "--count", "99999999999999999999"},
         {"events", "-b", "127.0.0.1:1", "--idle", "-nan"},
         {"submit", "-b", "127.0.0.1:1", "--rate", "NaN", an_image},
         {"health", "--wait", "nan", "127.0.0.1:1"},
         {"top", "--interval", "nan", "127.0.0.1:1"},
         {"topics", "list", "-b", "127.0.0.1:1", "--timeout", "nan"},
         {"dlq", "list", "-b", "127.0.0.1:1", "--timeout", "nan"},
         {"breaker", "show", "127.0.0.1:1", "--timeout", "nan"},
         {"check", sources + "/configs/ziyu.json", "--timeout", "nan"},
         {"broker", "--dir", "/nonexistent", "--port", "-1"},
         {"broker", "--dir", "/nonexistent", "--port", "65536"}}) {
    const auto x = run(arguments);
    EXPECT_EQ(x.exit_code, 2) << arguments[0] << ": " << x.err;
    EXPECT_NE(x.err.find("Try `ziyu"), x.err.npos) << x.err;
  }
}

TEST(Program, RefusesAnAddressThatCanBeNone) {
  for (const auto* url : {"127.0.0.1:65536", "127.0.0.1:", "127.0.0.1:x", "http://", "[::1]:0"}) {
    const auto x = run({"health", url});
    EXPECT_EQ(x.exit_code, 2) << url << ": " << x.err;
    EXPECT_NE(x.err.find("host:port"), x.err.npos) << x.err;
  }
}

TEST(Program, AnEmptyNameIsAMistakeAndNoCrash) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
         {"doctor", ""},
         {"broker", "--dir", ""},
         {"check", ""},
         {"serve", "--config", ""},
         {"classify", "--model", "", an_image},
         {"classify", "--model", sources + "/models/digits/1", ""}}) {
    const auto x = run(arguments);
    EXPECT_EQ(x.exit_code, 2) << arguments[0] << ": " << x.out << x.err;
    EXPECT_EQ(x.err.find("terminate"), x.err.npos) << x.err;
  }
}

// -- check ----------------------------------------------------------------------------

TEST(Check, ReportsEveryMistakeWithItsKey) {
  temp_dir dir;
  const auto file = file_with(dir, "c.json", R"({
    "kafka": {"bootstrap.servers": "127.0.0.1:1", "group.id": "g"},
    "model": {"path": "m"},
    "workers": {"slts": 4},
    "breaker": {"open_at": 8},
    "http": {"port": "many"}})");
  const auto x = run({"check", file});
  EXPECT_EQ(x.exit_code, 2);
  for (const auto* part : {"workers.slts", "workers.slots", "breaker.open_at", "http.port"})
    EXPECT_NE(x.out.find(part), x.out.npos) << part << " in\n" << x.out;
  const auto report = json::parse(run({"check", file, "--json"}).out);
  EXPECT_EQ(report["ok"], false);
  EXPECT_EQ(report["exit_code"], 2);
  EXPECT_GE(report["checks"].size(), 3u);
}

TEST(Check, ReportsAMissingFile) {
  const auto x = run({"check", "/nonexistent/c.json"});
  EXPECT_EQ(x.exit_code, 2);
  EXPECT_NE(x.out.find("/nonexistent/c.json"), x.out.npos);
}

TEST(Check, LoadsTheModelOffline) {
  const auto x = run({"check", sources + "/configs/ziyu.json", "--offline", "--json", "--set",
                      "memory.container_limit_bytes=8GiB", "--set", "http.port=0"});
  EXPECT_EQ(x.exit_code, 0) << x.out << x.err;
  const auto report = json::parse(x.out);
  std::string checked;
  for (const auto& line : report["checks"]) {
    EXPECT_EQ(line["verdict"], "ok") << line;
    checked += line["check"].get<std::string>() + " ";
  }
  EXPECT_EQ(checked, "configuration memory Kafka properties HTTP address model worker ");
}

TEST(Check, TellsAModelThatIsNotThere) {
  const auto x = run({"check", sources + "/configs/ziyu.json", "--offline", "--set",
                      "model.path=/nonexistent/model", "--set",
                      "memory.container_limit_bytes=8GiB"});
  EXPECT_EQ(x.exit_code, 2) << x.out;
  EXPECT_NE(x.out.find("/nonexistent/model"), x.out.npos);
}

TEST(Check, TellsAnAbsentBrokerFromAWrongConfiguration) {
  silent_port absent{false};
  const auto x = run({"check", sources + "/configs/ziyu.json", "--timeout", "0.5", "--set",
                      "kafka.bootstrap.servers=" + absent.address(), "--set",
                      "memory.container_limit_bytes=8GiB"});
  EXPECT_EQ(x.exit_code, 4) << x.out;
  EXPECT_NE(x.out.find(absent.address()), x.out.npos);
  EXPECT_EQ(x.err, "");
}

// -- an absent broker -----------------------------------------------------------------

TEST(AbsentBroker, IsAnErrorOfItsOwnAndNotDrownedInClientLogs) {
  silent_port absent{false};
  for (const auto& command :
       std::vector<std::vector<std::string>>{{"results", "--timeout", "0.5"},
                                             {"events", "--timeout", "0.5"},
                                             {"dlq", "list", "--timeout", "0.5"},
                                             {"submit", "--timeout", "0.5", an_image},
                                             {"topics", "create", "--timeout", "0.5"}}) {
    auto arguments = command;
    arguments.insert(arguments.end(), {"-b", absent.address()});
    const auto x = run(arguments);
    EXPECT_EQ(x.exit_code, 4) << command.front() << x.err;
    EXPECT_EQ(x.out, "");
    EXPECT_TRUE(x.err.starts_with("ziyu: ")) << x.err;
    EXPECT_EQ(x.err.find("librdkafka"), x.err.npos) << x.err;
    EXPECT_EQ(x.err.find('\n'), x.err.size() - 1) << "one line: " << x.err;
  }
}

TEST(AbsentBroker, ShowsTheClientsLogsOnRequest) {
  silent_port absent{false};
  program x{ziyu_with({"results", "-b", absent.address(), "--verbose"}),
            program::output::pipes,
            {{"ZIYU_CONFIG", ""}}};
  // Lines of librdkafka come while the program still tries to connect.
  EXPECT_TRUE(x.wait_for("librdkafka")) << x.err();
  x.signal(SIGINT);
  EXPECT_EQ(x.finish(), 128 + SIGINT);
  EXPECT_EQ(x.out(), "") << "logs are no output";
}

TEST(AbsentBroker, DoesNotHoldUpCtrlC) {
  silent_port silent{true};
  for (const auto* command : {"results", "submit"}) {
    auto arguments = ziyu_with({command, "-b", silent.address()});
    if (arguments[1] == "submit")
      arguments.push_back(an_image);
    program x{arguments};
    ASSERT_TRUE(silent.wait_for_connection());
    x.signal(SIGINT);
    EXPECT_EQ(x.finish(), 128 + SIGINT);
  }
}

TEST(AbsentBroker, AnySignalToEndExitsWith130) {
  for (const auto number : {SIGINT, SIGTERM, SIGHUP})
    for (std::vector<std::string> arguments : std::vector<std::vector<std::string>>{
           {"results", "-n", "1", "-b", ""},
           {"dlq", "list", "-b", ""},
           {"dlq", "replay", "--all", "--yes", "-b", ""},
           {"leaks", "-b", ""},
           {"topics", "list", "-b", ""},
           {"check", sources + "/configs/ziyu.json", "--timeout", "60", "--set", "http.port=0",
            "--set", "kafka.bootstrap.servers="},
           {"health", "--wait", "60", "--timeout", "60", ""}}) {
      silent_port silent{true};
      arguments.back() += silent.address();
      program x{ziyu_with(arguments)};
      ASSERT_TRUE(silent.accept()) << arguments[0] << x.err();
      x.signal(number);
      EXPECT_EQ(x.finish(), 130) << arguments[0] << " and signal " << number;
    }
}

TEST(Program, ClassifyEndsWith130OnAnySignalToEnd) {
  for (const auto number : {SIGINT, SIGTERM, SIGHUP}) {
    // The lines of 2000 images do not fit into the pipe: the signal comes before the end.
    std::vector<std::string> arguments{"classify", "--model", sources + "/models/digits/1"};
    arguments.insert(arguments.end(), 2'000, an_image);
    program x{ziyu_with(arguments)};
    ASSERT_TRUE(x.wait_for("FILE")) << x.err();
    x.signal(number);
    EXPECT_EQ(x.finish(), 130) << "signal " << number;
  }
}

// -- submit ---------------------------------------------------------------------------

TEST(Submit, RefusesMissingFilesBeforeItAsksForABroker) {
  const auto x = run({"submit", "-b", "127.0.0.1:1", "/nonexistent/a.png"});
  EXPECT_EQ(x.exit_code, 2);
  EXPECT_EQ(x.err, "ziyu: /nonexistent/a.png: no such file or folder\n");
  EXPECT_EQ(run({"submit", "-b", "127.0.0.1:1"}).exit_code, 2);
  EXPECT_EQ(run({"submit", "-b", "127.0.0.1:1", "-"}, "\n").err,
            "ziyu: there is nothing to submit\n");
}

// -- terminals ------------------------------------------------------------------------

TEST(Colours, AreForTerminalsOnly) {
  const auto arguments = ziyu_with({"check", sources + "/configs/ziyu.json", "--offline"});
  program on_terminal{
    arguments, program::output::terminal, {{"TERM", "xterm-256color"}, {"NO_COLOR", ""}}};
  on_terminal.finish();
  EXPECT_NE(on_terminal.out().find("\x1b[32mok"), std::string::npos) << on_terminal.out();
  program in_pipe{arguments};
  in_pipe.finish();
  EXPECT_EQ(in_pipe.out().find('\x1b'), std::string::npos);
  EXPECT_NE(in_pipe.out().find("ok "), std::string::npos);
}

TEST(Colours, AreNotForThoseWhoDoNotWantThem) {
  const auto arguments = ziyu_with({"check", "/nonexistent"});
  for (const auto& [name, value] : {std::pair{"NO_COLOR", "1"}, {"TERM", "dumb"}}) {
    program x{arguments, program::output::terminal, {{name, value}}};
    EXPECT_EQ(x.finish(), 2);
    EXPECT_EQ(x.out().find('\x1b'), std::string::npos) << x.out();
  }
}

// -- completion -----------------------------------------------------------------------

namespace {

/// What bash would offer after these words; the last is the one being typed.
std::string completed(const std::vector<std::string>& words) {
  std::string line = "source <(\"$0\" completion bash); COMP_WORDS=(";
  for (const auto& x : words)
    line += "'" + x + "' ";
  line += "); COMP_CWORD=" + std::to_string(words.size() - 1)
          + "; _ziyu; printf '%s ' \"${COMPREPLY[@]}\"";
  program x{{"/bin/bash", "--norc", "-c", line, binary}};
  EXPECT_EQ(x.finish(), 0);
  EXPECT_EQ(x.err(), "");
  return x.out();
}

} // namespace

TEST(BashCompletion, OffersCommandsAndFlags) {
  EXPECT_EQ(completed({"ziyu", "re"}), "results ");
  EXPECT_EQ(completed({"ziyu", "dlq", "l"}), "list ");
  EXPECT_EQ(completed({"ziyu", "results", "--co"}), "--config --count ");
  EXPECT_EQ(completed({"ziyu", "results", "--count", "3", "--js"}), "--json ");
  EXPECT_NE(completed({"ziyu", "completion", ""}).find("bash zsh fish"), std::string::npos);
}

TEST(BashCompletion, OffersFilesWhereNoWordFits) {
  temp_dir dir;
  const auto file = file_with(dir, "photo.png", "x");
  EXPECT_EQ(completed({"ziyu", "submit", (dir.path() / "pho").string()}), file + " ");
}

// -- config init and classify ---------------------------------------------------------

TEST(Program, AConfigurationToBeginWithPassesItsCheck) {
  temp_dir dir;
  const auto file = (dir.path() / "配置.json").string();
  const std::vector<std::string> init{
    "config", "init", file, "-b", "db:9092", "--model", sources + "/models/digits/1"};
  const auto written = run(init);
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const auto checked = run({"check", file, "--offline", "--set",
                            "memory.container_limit_bytes=8GiB", "--set", "http.port=0"});
  EXPECT_EQ(checked.exit_code, 0) << checked.out << checked.err;
  const auto again = run(init);
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_NE(again.err.find("--force"), again.err.npos) << again.err;
  EXPECT_EQ(run({"config", "init"}).out.substr(0, 2), "//");
}

TEST(Program, ClassifiesFilesWithoutAService) {
  temp_dir dir;
  const auto model = sources + "/models/digits/1";
  const auto x = run({"classify", "--model", model, an_image});
  EXPECT_EQ(x.exit_code, 0) << x.err;
  EXPECT_NE(x.out.find("零"), x.out.npos) << x.out;
  const auto broken = file_with(dir, "坏.png", "no image");
  const auto y = run({"classify", "--model", model, "--json", an_image, broken});
  EXPECT_EQ(y.exit_code, 1) << y.err;
  EXPECT_NE(y.out.find("undecodable_image"), y.out.npos) << y.out;
  EXPECT_NE(y.out.find("坏.png"), y.out.npos) << y.out;
  EXPECT_EQ(run({"classify", an_image}).exit_code, 2);
  EXPECT_EQ(run({"classify", "--model", dir.path().string(), an_image}).exit_code, 2);
}
