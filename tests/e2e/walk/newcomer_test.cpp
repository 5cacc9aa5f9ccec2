// A newcomer's walk through the README: its commands are taken from the page and run, in both
// languages. Only the ports, the broker's folder and the configuration's broker are changed, so
// that several tests can run on one machine.

#include "base/file.hpp"
#include "e2e/support/processes.hpp"
#include "e2e/support/service.hpp"
#include "messaging/broker/guarded_process.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <regex>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

using namespace ziyu;
using namespace ziyu::e2e;
using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

namespace {

const std::filesystem::path sources = test::source_dir();

struct code_block {
  std::string language, text;

  /// The commands in the block: the text behind "$ ", without comments.
  std::vector<std::string> commands() const {
    std::vector<std::string> result;
    std::istringstream lines{text};
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("$ "))
        result.push_back(std::regex_replace(line.substr(2), std::regex{R"(\s+#.*)"}, ""));
    return result;
  }
};

std::vector<code_block> blocks_of(const std::string& page) {
  std::vector<code_block> result;
  std::istringstream lines{must(read_file(sources / page))};
  auto inside = false;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside)
        result.push_back({line.substr(3), ""});
    } else if (inside) {
      result.back().text += line + "\n";
    }
  }
  return result;
}

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
}

/// What other tests run: `scripts/demo` and `scripts/test` (e2e demo, this very run),
/// containers and stack (process configs, e2e stack), and the export of a model, which needs
/// PyTorch.
bool is_run_elsewhere(const std::string& command) {
  for (const auto* prefix : {"scripts/", "docker ", "python3 -m venv", "/tmp/export/"})
    if (command.starts_with(prefix))
      return true;
  return command.find("models/resnet18") != std::string::npos;
}

/// The terminals of a reader who follows the page.
class walk {
public:
  /// Runs a command to its end, from the root of the sources.
  outcome run(const std::string& command) {
    return run_program({"/bin/bash", "-c", in_sources(command)}, 120s);
  }

  /// Starts a command that runs until it is stopped; returns the first line of its standard output.
  json start(const std::string& command) {
    const auto name = folder_.path() / ("terminal-" + std::to_string(background_.size()));
    const auto news = name.string() + ".out";
    const unique_fd out{::open(news.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
    background_.push_back(must(broker::guarded_process::start(
      {"/bin/bash", "-c", in_sources("exec " + command)}, name.string() + ".log", out.get())));
    const auto said = eventually(
      [&] { return read_file(news).value_or("").ends_with('\n') || !background_.back().running(); },
      120s);
    const auto text = read_file(news).value_or("");
    if (!said || text.empty())
      throw std::runtime_error(command + ":\n" + read_file(name.string() + ".log").value_or(""));
    return json::parse(text.substr(0, text.find('\n')));
  }

  /// Ends the started commands, the last first; true if all ended with exit code 0.
  bool stop() {
    auto good = true;
    for (; !background_.empty(); background_.pop_back()) {
      const auto how = background_.back().end(40s);
      good = good && how.signal == 0 && how.exit_code == 0;
    }
    return good;
  }

  const std::filesystem::path& folder() const { return folder_.path(); }

private:
  static std::string in_sources(const std::string& command) {
    return "exec bash -ec 'cd \"$1\" && export PATH=\"$2:$PATH\" && eval \"$3\"' bash '"
           + sources.string() + "' '" + test::program_dir() + "' '"
           + std::regex_replace(command, std::regex{"'"}, R"('\'')") + "'";
  }

  temp_dir folder_{"ziyu-walk"};
  std::vector<broker::guarded_process> background_;
};

class NewcomersWalk : public testing::TestWithParam<const char*> {};

} // namespace

TEST_P(NewcomersWalk, TheCommandsOfTheReadmeDoWhatItSays) {
  walk here;
  std::string brokers, http;
  auto terminals = 0, ran = 0;
  const auto adapted = [&](std::string text) {
    replace_all(text, "--port 9092", "--port 0");
    replace_all(text, "/tmp/ziyu-kafka", (here.folder() / "kafka").string());
    replace_all(text, "localhost:9092", brokers);
    replace_all(text, "localhost:8080", http);
    if (text.starts_with("ziyu serve"))
      text += " --set kafka.bootstrap.servers=" + brokers + " --set http.port=0";
    return text;
  };
  for (const auto& block : blocks_of(GetParam())) {
    if (block.language == "python") {
      const auto script = here.folder() / "client.py";
      must(write_file(script, adapted(block.text)));
      const auto x = here.run((sources / ".deps/venv/bin/python").string() + " " + script.string());
      EXPECT_EQ(x.exit_code, 0) << x.err;
      EXPECT_THAT(x.out, StartsWith("七 0.97"));
      continue;
    }
    for (const auto& command : block.commands()) {
      if (is_run_elsewhere(command))
        continue;
      SCOPED_TRACE(command);
      ++ran;
      if (command.starts_with("export PATH=")) {
        ++terminals;
      } else if (command.starts_with("ziyu broker")) {
        brokers = here.start(adapted(command)).at("bootstrap");
      } else if (command.starts_with("ziyu serve")) {
        http = here.start(adapted(command)).at("http");
      } else if (command.starts_with("kcat -C")) {
        // kcat asks for what is there: the result comes in its own time.
        outcome x;
        EXPECT_TRUE(eventually([&] { return (x = here.run(adapted(command))).exit_code == 0; }))
          << x.err;
        EXPECT_THAT(x.out, HasSubstr("\"label\":\"七\""));
      } else {
        const auto x = here.run(adapted(command));
        ASSERT_EQ(x.exit_code, 0) << x.out << x.err;
        if (command.starts_with("ziyu classify") || command.find("--wait") != std::string::npos) {
          EXPECT_THAT(x.out, HasSubstr("七"));
        }
        if (command.starts_with("curl")) {
          EXPECT_EQ(json::parse(x.out).at("status").get<std::string>(), "healthy") << x.out;
        }
      }
    }
  }
  EXPECT_EQ(terminals, 4);
  EXPECT_GE(ran, 12);
  EXPECT_TRUE(here.stop());
}

INSTANTIATE_TEST_SUITE_P(Readme, NewcomersWalk, testing::Values("README.md", "README.zh-CN.md"),
                         [](const auto& x) {
                           return x.param == std::string{"README.md"} ? "English" : "Chinese";
                         });
