// Fork servers and workers with compiled packages.

#include "support/compiled_folder.hpp"
#include "support/fork_server_process.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>

using namespace ziyu;
using namespace ziyu::test;

TEST(ForkServer, ServesWithItsPackageAndKeepsNoByte) {
  const compiled_folder model;
  fork_server_process server{model.folder, {"--max-batch", "2"}};
  const auto news = server.expect_frame<wire::server_ready>();
  EXPECT_EQ(news.variant, "fp32 compiled");
  EXPECT_EQ(news.refused, "");
  EXPECT_EQ(news.largest_batch(), 2u);
  auto x = server.spawn(); // the fork server has one thread, or it would refuse
  for (auto i = 0; i < 20; ++i) {
    const auto answer = x.run(digit_image(i % 10));
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->top_k.size(), 2u);
    if (i >= 3) {
      EXPECT_EQ(answer->delta_live, 0) << i;
    }
  }
}

TEST(ForkServer, ServesWithTorchScriptWhereItsPackageDies) {
  compiled_folder model;
  model.put_package(3, illegal_instruction);
  fork_server_process server{model.folder, {"--max-batch", "2"}};
  const auto news = server.expect_frame<wire::server_ready>();
  EXPECT_EQ(news.variant, "fp32");
  EXPECT_THAT(news.refused, testing::HasSubstr("its code ended with signal 4"));
  auto x = server.spawn();
  const auto answer = x.run(digit_image(3));
  ASSERT_TRUE(answer) << answer.error().describe();
  EXPECT_EQ(answer->top_k.size(), 2u);
}

// In TorchScript that takes as long for 8 images as for one, whatever else the machine does.
TEST(ForkServer, TellsTheLargestBatchThatIsWorthWhile) {
  const compiled_folder model;
  std::filesystem::remove_all(model.folder / "compiled");
  fork_server_process server{model.folder, {"--max-batch", "8"}};
  const auto news = server.expect_frame<wire::server_ready>();
  EXPECT_EQ(news.variant, "fp32");
  EXPECT_EQ(news.largest_batch(), 8u);
}
