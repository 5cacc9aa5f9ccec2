#include "base/file.hpp"
#include "messaging/broker/embedded_broker.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <set>

using namespace ziyu;
namespace fs = std::filesystem;

namespace {

/// Sets an environment variable and puts the old value back.
class scoped_variable {
public:
  scoped_variable(const char* name, const std::string& value) : name_(name) {
    if (auto old = std::getenv(name))
      old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  ~scoped_variable() {
    if (old_)
      ::setenv(name_, old_->c_str(), 1);
    else
      ::unsetenv(name_);
  }

private:
  const char* name_;
  std::optional<std::string> old_;
};

} // namespace

TEST(FindJars, TakesTheFolderThatTheVariableNames) {
  temp_dir dir;
  ASSERT_TRUE(write_file(dir.path() / "kafka_2.13-4.0.0.jar", ""));
  const scoped_variable lib{"ZIYU_KAFKA_LIB", dir.path().string()};
  const auto found = broker::find_jars();
  ASSERT_TRUE(found) << found.error().describe();
  EXPECT_EQ(*found, dir.path());
}

TEST(FindJars, NeverLooksElsewhereWhenTheVariableIsWrong) {
  temp_dir dir;
  ASSERT_TRUE(write_file(dir.path() / "kafka-clients-4.0.0.jar", "")); // not the server
  for (const auto& path : {dir.path(), dir.path() / "absent", fs::path{}}) {
    const scoped_variable lib{"ZIYU_KAFKA_LIB", path.string()};
    const auto found = broker::find_jars();
    ASSERT_FALSE(found) << path;
    EXPECT_EQ(found.error().code, errc::unavailable);
    EXPECT_EQ(found.error().message, "ZIYU_KAFKA_LIB=" + path.string() + " holds no jars of Kafka");
  }
}

TEST(EmbeddedBroker, WithoutJavaSaysWhatToInstall) {
  temp_dir dir;
  const scoped_variable path{"PATH", dir.path().string()};
  const scoped_variable home{"JAVA_HOME", dir.path().string()};
  broker::broker_settings s;
  s.folder = dir.path() / "broker";
  auto x = broker::embedded_broker::start(s);
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::unavailable);
  EXPECT_NE(x.error().message.find("scripts/deps"), std::string::npos) << x.error().message;
}

TEST(EmbeddedBroker, WithoutJarsSaysWhereTheyWereLookedFor) {
  temp_dir dir;
  fs::create_directories(dir.path() / "bin");
  ASSERT_TRUE(write_file(dir.path() / "bin/java", "#!/bin/false\n"));
  fs::permissions(dir.path() / "bin/java", fs::perms::owner_all);
  const scoped_variable home{"JAVA_HOME", dir.path().string()};
  const scoped_variable lib{"ZIYU_KAFKA_LIB", (dir.path() / "absent").string()};
  broker::broker_settings s;
  s.folder = dir.path() / "broker";
  auto x = broker::embedded_broker::start(s);
  ASSERT_FALSE(x);
  EXPECT_EQ(x.error().code, errc::unavailable);
  EXPECT_NE(x.error().message.find("ZIYU_KAFKA_LIB="), std::string::npos) << x.error().message;
}

TEST(FreePort, IsNoneThatTheKernelGivesToClients) {
  uint32_t clients = 0;
  std::ifstream{"/proc/sys/net/ipv4/ip_local_port_range"} >> clients;
  ASSERT_GT(clients, 0u);
  std::set<uint16_t> found;
  for (auto i = 0; i < 20; ++i) {
    const auto port = broker::free_port();
    EXPECT_GT(port, 1'024u);
    if (clients > 20'000) { // else there may be none below
      EXPECT_LT(port, clients);
    }
    found.insert(port);
  }
  EXPECT_GT(found.size(), 1u) << "two brokers that start at once would choose the same";
}
