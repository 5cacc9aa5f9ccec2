#include "model/classifier.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

using namespace ziyu;
using namespace ziyu::model;

namespace {

/// The permissions of each mapping of weights in this process.
std::vector<std::string> mappings() {
  std::vector<std::string> result;
  std::istringstream lines{read_file("/proc/self/maps").value()};
  for (std::string range, permissions, rest; lines >> range >> permissions;) {
    std::getline(lines, rest);
    if (rest.find("memfd:ziyu-weights") != std::string::npos)
      result.push_back(permissions);
  }
  return result;
}

} // namespace

TEST(SharedWeights, LieInOneMappingThatNobodyCanWriteToWhileTheModelLives) {
  const auto folder = std::filesystem::path{test::source_dir()} / "models/digits/1";
  const auto image = std::filesystem::path{test::source_dir()} / "tests/data/digits/0_024.png";
  {
    auto by = classifier::load(folder);
    ASSERT_TRUE(by) << by.error().describe();
    const auto shared = by->model().share_weights();
    ASSERT_TRUE(shared) << shared.error().describe();
    EXPECT_GT(*shared, 10'000u);
    EXPECT_THAT(mappings(), testing::ElementsAre("r--s"));
    const auto moved = std::move(*by);
    auto user = classifier::load(folder);
    ASSERT_TRUE(user) << user.error().describe();
    ASSERT_TRUE(user->model().share_weights());
    EXPECT_EQ(mappings().size(), 2u) << "each model has its own";
    const auto answer = user->classify(read_file(image).value(), 1);
    ASSERT_TRUE(answer) << answer.error().describe();
    EXPECT_EQ(answer->top_k[0].index, 0u);
    EXPECT_TRUE(user->model().folder().warnings.empty());
  }
  EXPECT_THAT(mappings(), testing::IsEmpty());
}

// A worker that leaks models must be seen to grow: shared pages are not in what it counts.
TEST(SharedWeights, OfAModelThatIsLoadedLaterAreItsOwn) {
  const auto folder = std::filesystem::path{test::source_dir()} / "models/digits/1";
  auto first = classifier::load(folder);
  ASSERT_TRUE(first) << first.error().describe();
  ASSERT_TRUE(first->model().share_weights());
  const auto later = classifier::load(folder);
  ASSERT_TRUE(later) << later.error().describe();
  EXPECT_EQ(mappings().size(), 1u);
}
