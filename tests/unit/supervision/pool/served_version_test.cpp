#include "supervision/pool/served_version.hpp"

#include "base/log.hpp"

#include <gtest/gtest.h>

namespace ziyu::supervision {

namespace {

using namespace std::chrono_literals;

class ServedVersion : public testing::Test {
protected:
  void load(served_version& x, const std::string& sha256 = "aa") {
    x.keeper().start(++servers);
    x.keeper().started(100, now);
    wire::server_ready news;
    news.model_name = "digits";
    news.model_version = "2";
    news.model_sha256 = sha256;
    news.precision = "fp32";
    news.decode = "reduced";
    differed = x.ready(news, now);
  }

  fork_server_keeper::settings how;
  served_version first{1, "models/digits/1", false, how};
  served_version second{2, "models/digits/2", true, how};
  served_version::clock::time_point now{1h};
  uint64_t servers = 0;
  bool differed = false;
};

} // namespace

TEST_F(ServedVersion, TheFirstOneServesAndALaterOneIsOnTrial) {
  EXPECT_TRUE(first.is_serving());
  EXPECT_TRUE(second.is_on_trial());
  second.promote();
  EXPECT_TRUE(second.is_serving());
  first.retire();
  EXPECT_TRUE(first.is_retiring());
}

TEST_F(ServedVersion, ARejectedOneRetiresFromItsTrial) {
  second.retire();
  EXPECT_TRUE(second.is_retiring());
  EXPECT_EQ(to_string(second.now()), "retiring");
}

TEST_F(ServedVersion, KnowsItsModelOnceItIsLoaded) {
  EXPECT_EQ(second.model(), nullptr);
  EXPECT_FALSE(second.may_spawn());
  load(second);
  ASSERT_NE(second.model(), nullptr);
  EXPECT_EQ(second.model()->name, "digits");
  EXPECT_EQ(second.model()->version, "2");
  EXPECT_EQ(second.model()->precision, "fp32");
  EXPECT_EQ(second.model()->decode, "reduced");
  EXPECT_EQ(second.model()->folder, "models/digits/2");
  EXPECT_TRUE(second.may_spawn());
}

TEST_F(ServedVersion, AWorkerKeepsItsModelWhenAnotherOneIsLoaded) {
  load(first, "aa");
  EXPECT_FALSE(differed);
  const auto before = first.model();
  first.keeper().closed(false, "", now, 0);
  EXPECT_FALSE(first.may_spawn());
  load(first, "bb");
  EXPECT_TRUE(differed);
  EXPECT_EQ(before->sha256, "aa");
  EXPECT_EQ(first.model()->sha256, "bb");
}

TEST_F(ServedVersion, ForksNoWorkerWhileItRetires) {
  load(first);
  first.retire();
  EXPECT_FALSE(first.may_spawn());
}

TEST_F(ServedVersion, AbortsOnBrokenTransitions) {
  ASSERT_TRUE(init_log("info", "text")); // on standard error, where death tests look
  EXPECT_DEATH(first.promote(), "not on trial");
  first.retire();
  EXPECT_DEATH(first.retire(), "retires twice");
}

} // namespace ziyu::supervision
