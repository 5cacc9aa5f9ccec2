#include "cli/common/json.hpp"

#include <gtest/gtest.h>

#include <string>

namespace ziyu::cli {

TEST(ForeignJson, IsReadUnlessItNestsTooDeep) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_FALSE(parse_foreign(nested(64)).is_discarded());
  EXPECT_TRUE(parse_foreign(nested(65)).is_discarded());
  EXPECT_TRUE(parse_foreign(nested(1'000'000)).is_discarded());
  EXPECT_TRUE(parse_foreign("nothing").is_discarded());
}

TEST(ForeignJson, BracketsInTextsAndBesideEachOtherDoNotNest) {
  const std::string brackets(100, '[');
  EXPECT_EQ(parse_foreign("[\"" + brackets + "\\\"" + brackets + "\"]").size(), 1u);
  std::string many = "[[]";
  for (int i = 0; i < 1000; ++i)
    many += ",[]";
  EXPECT_EQ(parse_foreign(many + "]").size(), 1001u);
  EXPECT_FALSE(nests_too_deep("\\\"" + brackets.substr(1)));
}

} // namespace ziyu::cli
