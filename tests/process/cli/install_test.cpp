// The files that `cmake --install` installs work by themselves, wherever they are moved to.

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <array>
#include <cstdio>

using namespace ziyu;
namespace fs = std::filesystem;

namespace {

struct outcome {
  int code = -1;
  std::string out;
};

outcome shell(const std::string& command) {
  outcome result;
  auto* pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr)
    return result;
  std::array<char, 4096> buffer;
  for (size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;)
    result.out.append(buffer.data(), n);
  const auto status = ::pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

/// An installation that was moved once, so that nothing in it can know its place.
class Installation : public ::testing::Test {
protected:
  static void SetUpTestSuite() {
    folder = new temp_dir{"ziyu-install"};
    const auto build = fs::path{test::program_dir()}.parent_path().string();
    const auto said = shell("cmake --install '" + build + "' --prefix '"
                            + (folder->path() / "first").string() + "'");
    ASSERT_EQ(said.code, 0) << said.out;
    fs::rename(folder->path() / "first", prefix());
  }
  static void TearDownTestSuite() { delete std::exchange(folder, nullptr); }

  static std::string prefix() { return folder->path() / "moved"; }

  static inline temp_dir* folder = nullptr;
};

} // namespace

TEST_F(Installation, KnowsItsVersionAndThatOfItsWorker) {
  const auto x = shell(prefix() + "/bin/ziyu --version");
  EXPECT_EQ(x.code, 0) << x.out;
  EXPECT_TRUE(x.out.starts_with("ziyu ")) << x.out;
  EXPECT_NE(x.out.find("libtorch "), x.out.npos) << x.out; // said by the worker
}

TEST_F(Installation, ServesTheModelThatItBrings) {
  for (const std::string file : {"compose/ziyu.json", "configs/ziyu.json"}) {
    const auto x = shell("ZIYU_BROKERS=127.0.0.1:1 ZIYU_HTTP_HOST=127.0.0.1 " + prefix()
                         + "/bin/ziyu check --offline --json " + prefix() + "/share/ziyu/" + file
                         + " --set memory.container_limit_bytes=2GiB --set http.port=0");
    EXPECT_EQ(x.code, 0) << file << x.out;
    const auto answer = nlohmann::json::parse(x.out, nullptr, false);
    ASSERT_TRUE(answer.is_object()) << x.out;
    EXPECT_EQ(answer["ok"], true) << x.out;
  }
}

TEST_F(Installation, UsesNoLibraryOfTheSourceTree) {
  for (const std::string program : {"ziyu", "ziyu-worker"}) {
    const auto x = shell("ldd " + prefix() + "/bin/" + program);
    EXPECT_EQ(x.code, 0) << x.out;
    EXPECT_EQ(x.out.find("not found"), x.out.npos) << x.out;
    EXPECT_EQ(x.out.find(test::source_dir()), x.out.npos) << x.out;
  }
}

TEST_F(Installation, NamesTheDebianPackagesThatItNeeds) {
  const auto x = shell(test::source_dir() + "/scripts/runtime-packages " + prefix());
  EXPECT_EQ(x.code, 0) << x.out;
  for (const std::string package : {"libc6\n", "libjemalloc2\n", "libssl3"})
    EXPECT_NE(("\n" + x.out).find("\n" + package), x.out.npos) << package << x.out;
  EXPECT_EQ(x.out.find("-dev\n"), x.out.npos) << x.out;
}
