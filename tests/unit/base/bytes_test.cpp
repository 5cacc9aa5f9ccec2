#include "base/bytes.hpp"

#include <gtest/gtest.h>

using namespace ziyu;

TEST(ParseBytes, KnowsPlainNumbersAndUnitsOfBothSystems) {
  EXPECT_EQ(parse_bytes("0").value(), 0u);
  EXPECT_EQ(parse_bytes("4096").value(), 4096u);
  EXPECT_EQ(parse_bytes("12B").value(), 12u);
  EXPECT_EQ(parse_bytes("64KiB").value(), 65'536u);
  EXPECT_EQ(parse_bytes("6MiB").value(), 6'291'456u);
  EXPECT_EQ(parse_bytes("2GiB").value(), 2'147'483'648u);
  EXPECT_EQ(parse_bytes("5kB").value(), 5'000u);
  EXPECT_EQ(parse_bytes("5MB").value(), 5'000'000u);
  EXPECT_EQ(parse_bytes("5GB").value(), 5'000'000'000u);
}

TEST(ParseBytes, IgnoresCaseAndOneSpace) {
  EXPECT_EQ(parse_bytes("6 mib").value(), 6'291'456u);
  EXPECT_EQ(parse_bytes("6 MIB").value(), 6'291'456u);
  EXPECT_FALSE(parse_bytes("6  MiB"));
}

TEST(ParseBytes, RefusesEverythingElseAndQuotesIt) {
  for (auto text : {"", " ", "MiB", "-1", "1.5MiB", "6MiBs", "6Mi", "6 MiB ", "0x10", "1e3"}) {
    const auto result = parse_bytes(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, errc::invalid_config);
    EXPECT_NE(result.error().message.find('"' + std::string{text} + '"'), std::string::npos);
  }
}

TEST(ParseBytes, RefusesAmountsBeyond64Bits) {
  EXPECT_EQ(parse_bytes("18446744073709551615").value(), UINT64_MAX);
  EXPECT_FALSE(parse_bytes("18446744073709551616"));
  EXPECT_FALSE(parse_bytes("17179869184GiB"));
}

TEST(FormatBytes, IsExactBelowTenThousandAndShortAbove) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(4392), "4392 B");
  EXPECT_EQ(format_bytes(9999), "9999 B");
  EXPECT_EQ(format_bytes(10'240), "10.0 KiB");
  EXPECT_EQ(format_bytes(1'023'900), "999.9 KiB");
  EXPECT_EQ(format_bytes(1'023'960), "1.0 MiB");
  EXPECT_EQ(format_bytes(6'291'456), "6.0 MiB");
  EXPECT_EQ(format_bytes(1'073'741'824), "1.0 GiB");
}

TEST(FormatBytes, KeepsTheSign) {
  EXPECT_EQ(format_bytes(-4392), "-4392 B");
  EXPECT_EQ(format_bytes(-6'291'456), "-6.0 MiB");
  EXPECT_EQ(format_bytes(INT64_MIN), "-8388608.0 TiB");
}
