#include "actors/log_line.hpp"

#include "base/log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ziyu::actors {

namespace {

using nlohmann::json;

const json replaced{{"slot", 1},
                    {"generation", 3},
                    {"pid", 4711},
                    {"cause", "retained_tensors"},
                    {"reason", "leak of 6.3 MB per job"},
                    {"baseline_bytes", 2744320},
                    {"live_slope", {{"bytes_per_job", 6292154.5}}},
                    {"flame", std::string(5'000, 'x')}};

class LogLine : public ::testing::Test {
protected:
  ~LogLine() override { EXPECT_TRUE(init_log("info", "text")); }

  template <class F>
  static std::string logged(const std::string& format, F&& write) {
    testing::internal::CaptureStderr();
    EXPECT_TRUE(init_log("info", format));
    write();
    return testing::internal::GetCapturedStderr();
  }
};

} // namespace

TEST_F(LogLine, BeginsWithWhatHappenedAndWhyAndThenTellsWhom) {
  EXPECT_EQ(as_text("worker_replaced", why_of(replaced), replaced),
            "worker_replaced: leak of 6.3 MB per job slot=1 generation=3 pid=4711 "
            "cause=retained_tensors baseline_bytes=2744320");
  EXPECT_EQ(as_text("service_started", "", {{"pid", 7}}), "service_started pid=7");
}

TEST_F(LogLine, NamesTheCodeBesideTheMessage) {
  const json x{{"job_id", "a"}, {"code", "empty_image"}, {"message", "no bytes"}};
  EXPECT_EQ(as_text("dead_lettered", why_of(x), x),
            "dead_lettered: empty_image: no bytes job_id=a");
}

TEST_F(LogLine, IsAnObjectWithFieldsAsJson) {
  const auto line = logged("json", [] {
    log_line(spdlog::level::warn, "worker_replaced", why_of(replaced), replaced, "worker_replaced");
  });
  const auto x = json::parse(line);
  EXPECT_EQ(x.at("level").get<std::string>(), "warning");
  EXPECT_EQ(x.at("event").get<std::string>(), "worker_replaced");
  EXPECT_EQ(x.at("message").get<std::string>(), "worker_replaced: leak of 6.3 MB per job");
  EXPECT_EQ(x.at("detail").at("slot").get<int>(), 1);
  EXPECT_EQ(x.at("detail").at("pid").get<int>(), 4711);
  EXPECT_TRUE(x.at("pid").is_number()) << "the service's own";
  EXPECT_TRUE(x.at("detail").contains("live_slope"));
  EXPECT_FALSE(x.at("detail").contains("flame"));
}

TEST_F(LogLine, IsJsonWhateverTheTextsHold) {
  const auto line = logged("json", [] {
    log_line(spdlog::level::info, "worker wrote", "a \"b\" \\ \n \xff 金", {{"text", "\xff\n\""}});
    spdlog::info("plain");
  });
  const auto end = line.find('\n');
  const auto first = json::parse(line.substr(0, end)), second = json::parse(line.substr(end));
  EXPECT_EQ(first.at("message").get<std::string>(), "worker wrote: a \"b\" \\ \n \xef\xbf\xbd 金");
  EXPECT_FALSE(second.contains("detail")) << "of another line";
}

TEST_F(LogLine, TakesTheAliasWarning) {
  EXPECT_TRUE(init_log("warning", "text"));
  EXPECT_EQ(spdlog::get_level(), spdlog::level::warn);
}

} // namespace ziyu::actors
