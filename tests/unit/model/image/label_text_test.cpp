#include "model/label_text.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

using namespace ziyu;
using namespace ziyu::model;

namespace {

using labels = std::vector<std::string>;

/// ASCII and a line end in two bytes each.
std::string wide(std::string_view text, bool big_endian) {
  std::string result;
  for (const char c : text)
    result += big_endian ? std::string{'\0', c} : std::string{c, '\0'};
  return result;
}

std::string message_of(std::string_view content, const char* file = "labels.txt") {
  const auto result = parse_labels(content, file);
  return result ? std::string{"no error"} : result.error().message;
}

// 金毛犬, 猫, 狗, 汽车, 自行车, 飞机
constexpr auto gbk = "\xbd\xf0\xc3\xab\xc8\xae\n\xc3\xa8\n\xb9\xb7\n\xc6\xfb\xb3\xb5\n\xd7\xd4\xd0"
                     "\xd0\xb3\xb5\n\xb7\xc9\xbb\xfa";
// 黃金獵犬, 貓, 狗, 汽車, 自行車, 飛機
constexpr auto big5 = "\xb6\xc0\xaa\xf7\xc2y\xa4\xfc\n\xbf\xdf\n\xaa\xaf\n\xa8T\xa8\xae\n\xa6\xdb"
                      "\xa6\xe6\xa8\xae\n\xad\xb8\xbe\xf7";

} // namespace

TEST(LabelText, IsOneLabelALine) {
  EXPECT_EQ(parse_labels("金毛犬\n猫\n", "x").value(), (labels{"金毛犬", "猫"}));
  EXPECT_EQ(parse_labels("\xef\xbb\xbf金毛犬\r\n猫", "x").value(), (labels{"金毛犬", "猫"}));
  EXPECT_EQ(message_of(""), "labels.txt has no labels");
  EXPECT_NE(message_of("a\n \nb\n").find("labels.txt line 2 is empty"), std::string::npos);
}

TEST(LabelText, TellsTheEncodingsThatChineseTextHas) {
  EXPECT_EQ(likely_encoding("金毛犬\n猫\n"), "");
  EXPECT_EQ(likely_encoding(gbk), "GBK");
  EXPECT_EQ(likely_encoding(big5), "BIG5");
  // 㐀 and 𠮷 are not in GBK: four bytes each.
  EXPECT_EQ(likely_encoding("\x81\x39\xee\x39\n\xbd\xf0\n"), "GB18030");
  EXPECT_EQ(likely_encoding("caf\xe9\nna\xefve\n"), "WINDOWS-1252");
}

TEST(LabelText, TellsUtf16WithAndWithoutAByteOrderMark) {
  EXPECT_EQ(likely_encoding("\xff\xfe\x2b\x73\n"), "UTF-16");
  EXPECT_EQ(likely_encoding("\xfe\xff\x73\x2b"), "UTF-16");
  EXPECT_EQ(likely_encoding(std::string_view{"\xff\xfe\0\0\x2b\x73\0\0", 8}), "UTF-32");
  // Well-formed UTF-8, as NUL is a character: only the NUL bytes tell.
  EXPECT_EQ(likely_encoding(wide("cat\ndog\n", false)), "UTF-16LE");
  EXPECT_EQ(likely_encoding(wide("cat\ndog\n", true)), "UTF-16BE");
  // 猫, 狗: only the line ends have a NUL byte.
  EXPECT_EQ(likely_encoding(std::string_view{"\x2b\x73\n\0\xd7\x72\n\0", 8}), "UTF-16LE");
}

TEST(LabelText, ErrorsGiveTheCommandThatConverts) {
  EXPECT_EQ(message_of(wide("cat\n", false), "/m/labels.txt"),
            "/m/labels.txt is not UTF-8, but likely UTF-16LE (\"cat\"); convert the file: iconv -f "
            "UTF-16LE -t UTF-8 /m/labels.txt > /m/labels.txt.utf8 && mv /m/labels.txt.utf8 "
            "/m/labels.txt");
  EXPECT_NE(message_of(big5).find("iconv -f BIG5 -t UTF-8 "), std::string::npos);
  EXPECT_NE(message_of(wide("cat\n", false)).find("labels.txt is not UTF-8, but likely UTF-16LE"),
            std::string::npos);
  EXPECT_NE(message_of("caf\xe9\n").find("perhaps WINDOWS-1252"), std::string::npos);
  EXPECT_NE(message_of(gbk, "/m/my model's/x.txt").find("'/m/my model'\\''s/x.txt' > "),
            std::string::npos);
}

TEST(LabelText, EachEncodingThatTheBytesMayHaveIsShownWithALabelAndItsCommand) {
  // 貓 in Big5, 窟 in GBK: one character cannot tell.
  const auto one = message_of("cat\n\xbf\xdf\n", "x.txt");
  EXPECT_EQ(one, "x.txt line 2 is not UTF-8, but likely GBK (\"窟\") or BIG5 (\"貓\") or "
                 "WINDOWS-1252 (\"¿ß\"); convert the file from the one in which the label makes "
                 "sense: iconv -f GBK -t UTF-8 x.txt > x.txt.utf8 && mv x.txt.utf8 x.txt; or iconv "
                 "-f BIG5 -t UTF-8 x.txt > x.txt.utf8 && mv x.txt.utf8 x.txt; or iconv -f "
                 "WINDOWS-1252 -t UTF-8 x.txt > x.txt.utf8 && mv x.txt.utf8 x.txt");
  EXPECT_NE(message_of("M\xfcller\n").find("WINDOWS-1252 (\"Müller\")"), std::string::npos);
  EXPECT_NE(message_of(gbk).find("likely GBK (\"金毛犬\")"), std::string::npos) << message_of(gbk);
  EXPECT_NE(message_of("\x81\x39\xee\x39\n\xbd\xf0\n").find("likely GB18030 (\"㐀\")"),
            std::string::npos);
}

TEST(LabelText, WarnsOfLabelsThatStandForSeveralClasses) {
  EXPECT_TRUE(label_warnings(labels{"crane", "cat"}).empty());
  const auto one = label_warnings(labels{"crane", "cat", "crane"});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0], "1 label is a duplicate: \"crane\" stands for the classes 0 and 2; only the "
                    "index in a result tells them apart");
  const auto two = label_warnings(labels{"a", "a", "b", "b"});
  ASSERT_EQ(two.size(), 1u);
  EXPECT_TRUE(two[0].starts_with("2 labels are duplicates, e.g., \"a\""));
}

TEST(LabelText, WarnsOfLinesThatBeginWithTheirNumber) {
  for (const auto& x : {labels{"0,cat", "1,dog"}, labels{"1,cat", "2,dog"},
                        labels{"0: cat", "1: dog"}, labels{"0\tcat", "1\tdog"},
                        labels{"\"0\",\"cat\"", "\"1\",\"dog\""}, labels{"0 cat", "1 dog"}}) {
    const auto found = label_warnings(x);
    ASSERT_EQ(found.size(), 1u) << x[0];
    EXPECT_NE(found[0].find("begins with its number (\"" + x[0]), std::string::npos) << found[0];
  }
  for (const auto& x : {labels{"0", "1"}, labels{"cat", "1,dog"}, labels{"1 yuan", "5 yuan"},
                        labels{"0th", "1st"}, labels{"3,a", "4,b"}, labels{"0,cat"}})
    EXPECT_TRUE(label_warnings(x).empty()) << x[0];
}
