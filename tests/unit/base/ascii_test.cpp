#include "base/ascii.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace ziyu {

TEST(Ascii, LowersLettersAndKeepsAllOtherBytes) {
  EXPECT_EQ(ascii_lower("Content-Type @[`{ ÄÖ 零\xff"), "content-type @[`{ ÄÖ 零\xff");
  EXPECT_EQ(ascii_lower(""), "");
}

TEST(Ascii, AHexadecimalDigitHasItsValueAndNoOtherByteHasOne) {
  constexpr std::string_view lower = "0123456789abcdef", upper = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    const auto c = static_cast<char>(byte);
    const auto i = std::min(lower.find(c), upper.find(c));
    EXPECT_EQ(hex_digit(c), i == std::string_view::npos ? -1 : static_cast<int>(i)) << byte;
  }
}

TEST(Ascii, APortIsANumberOfItsRange) {
  for (const auto* x : {"1", "80", "9092", "65535", "00080"})
    EXPECT_TRUE(is_port(x)) << x;
  for (const auto* x :
       {"", "0", "65536", "000080", "-1", "+1", " 80", "80 ", "http", "99999999999"})
    EXPECT_FALSE(is_port(x)) << x;
}

} // namespace ziyu
