#include "base/text.hpp"

#include "base/file.hpp"

#include <gtest/gtest.h>

#include <clocale>

using namespace ziyu;
using namespace std::string_literals;

namespace {

const auto replacement = "\xef\xbf\xbd"s;

} // namespace

// -- UTF-8 -----------------------------------------------------------------------

TEST(Utf8, AcceptsTheFirstAndLastCodePointOfEachLength) {
  for (const auto& text :
       {""s, "\0"s, "\x7f"s, "\xc2\x80"s, "\xdf\xbf"s, "\xe0\xa0\x80"s, "\xed\x9f\xbf"s,
        "\xee\x80\x80"s, "\xef\xbf\xbf"s, "\xf0\x90\x80\x80"s, "\xf4\x8f\xbf\xbf"s, "金毛犬"s}) {
    EXPECT_TRUE(is_utf8(text));
    EXPECT_EQ(to_utf8(text), text);
  }
}

struct ill_formed_case {
  const char* name;
  std::string text;
  size_t replacements; ///< Unicode 15 §3.9: one for each maximal subpart.
};

class IllFormedUtf8 : public testing::TestWithParam<ill_formed_case> {};

TEST_P(IllFormedUtf8, IsRefusedAndReplacedWithoutLosingItsNeighbours) {
  EXPECT_FALSE(is_utf8(GetParam().text));
  EXPECT_FALSE(is_utf8("犬" + GetParam().text + "犬"));
  std::string expected = "犬";
  for (size_t i = 0; i < GetParam().replacements; ++i)
    expected += replacement;
  const auto repaired = to_utf8("犬" + GetParam().text + "犬");
  EXPECT_EQ(repaired, expected + "犬");
  EXPECT_TRUE(is_utf8(repaired));
}

INSTANTIATE_TEST_SUITE_P(Classes, IllFormedUtf8,
                         testing::Values(ill_formed_case{"LoneContinuation", "\x80", 1},
                                         ill_formed_case{"TwoLoneContinuations", "\xbf\x80", 2},
                                         ill_formed_case{"TruncatedTwo", "\xc3", 1},
                                         ill_formed_case{"TruncatedThree", "\xe9\x87", 1},
                                         ill_formed_case{"TruncatedFour", "\xf0\x9f\x90", 1},
                                         ill_formed_case{"OverlongTwo", "\xc0\xaf", 2},
                                         ill_formed_case{"OverlongTwoHighest", "\xc1\xbf", 2},
                                         ill_formed_case{"OverlongThree", "\xe0\x80\xaf", 3},
                                         ill_formed_case{"OverlongFour", "\xf0\x80\x80\xaf", 4},
                                         ill_formed_case{"SurrogateHigh", "\xed\xa0\x80", 3},
                                         ill_formed_case{"SurrogateLow", "\xed\xbf\xbf", 3},
                                         ill_formed_case{"BeyondUnicode", "\xf4\x90\x80\x80", 4},
                                         ill_formed_case{"FiveBytes", "\xf8\x88\x80\x80\x80", 5},
                                         ill_formed_case{"NeverUsed", "\xfe\xff", 2},
                                         ill_formed_case{"LeadThenTruncated", "\xe9\xe9\x87", 2}),
                         [](const auto& x) { return std::string{x.param.name}; });

TEST(Utf8, ReplacesOnlyTheIllFormedPart) {
  EXPECT_EQ(to_utf8("label: \xff金\xe9\x87"), "label: " + replacement + "金" + replacement);
}

// -- width ------------------------------------------------------------------------

TEST(DisplayWidth, CountsColumnsWhateverTheLocale) {
  for (auto locale : {"C", "C.UTF-8"}) {
    ASSERT_NE(std::setlocale(LC_ALL, locale), nullptr);
    EXPECT_EQ(display_width(""), 0u);
    EXPECT_EQ(display_width("dog"), 3u);
    EXPECT_EQ(display_width("金毛犬"), 6u);
    EXPECT_EQ(display_width("金毛犬 99%"), 10u);
    EXPECT_EQ(display_width("한국어"), 6u);
    EXPECT_EQ(display_width("ひらがな"), 8u);
    EXPECT_EQ(display_width("ｶﾀｶﾅ"), 4u) << "half-width forms";
    EXPECT_EQ(display_width("Ａ"), 2u) << "a full-width form";
    EXPECT_EQ(display_width("𠮷"), 2u) << "plane 2";
    EXPECT_EQ(display_width("é"), 1u);
    EXPECT_EQ(display_width("e\u0301"), 1u) << "a combining accent";
    EXPECT_EQ(display_width("👍"), 2u);
    EXPECT_EQ(display_width("█▏─│"), 4u) << "what progress bars are made of";
  }
  std::setlocale(LC_ALL, "C");
}

TEST(DisplayWidth, CountsMarksAsTerminalsDrawThem) {
  EXPECT_EQ(display_width("e\u0301\u0323"), 1u) << "two accents";
  EXPECT_EQ(display_width("\u0939\u093f\u0928\u094d\u0926\u0940"), 5u)
    << "Hindi: three letters and two vowel signs beside them; the virama takes no column";
  EXPECT_EQ(display_width("\u1100\u1161\u11a8"), 2u) << "one Hangul syllable of three parts";
  EXPECT_EQ(display_width("a\u200bb\u00ad"), 3u) << "the soft hyphen takes a column";
  EXPECT_EQ(display_width("\t\n\u0085"), 0u) << "control characters";
}

TEST(DisplayWidth, CountsAmbiguousCharactersAsOneColumn) {
  EXPECT_EQ(display_width("…±Ωя①"), 5u);
  EXPECT_EQ(display_width("\ue000\ufffd"), 2u) << "private use, replacement";
}

TEST(DisplayWidth, CountsThePartsOfAnEmojiOneByOne) {
  EXPECT_EQ(display_width("👩\u200d👩\u200d👧"), 6u) << "a family of three, joined";
  EXPECT_EQ(display_width("👍🏽"), 4u) << "a tone of skin";
  EXPECT_EQ(display_width("🇨🇳"), 2u) << "a flag of two letters";
  EXPECT_EQ(display_width("❤\ufe0f"), 1u) << "a variation selector";
}

TEST(DisplayWidth, CountsIllFormedBytesAsTheyWillBeShown) {
  EXPECT_EQ(display_width("a\xff"
                          "b"),
            3u);
  EXPECT_EQ(display_width("a\xe9\x87"
                          "b"),
            display_width(to_utf8("a\xe9\x87"
                                  "b")));
}

// -- characters -------------------------------------------------------------------

TEST(FirstCharacter, TakesWhatAReaderSeesAsOne) {
  for (const auto* one : {"a", "犬", "e\u0301\u0323", "🇨🇳", "👩\u200d👩\u200d👧", "👍🏽",
                          "❤\ufe0f", "\u1100\u1161\u11a8", "\r\n"})
    for (const auto* after : {"", "b", "犬", "🇨🇳", "\x1b[0m", "\xff"})
      EXPECT_EQ(first_character(std::string{one} + after), one) << one << after;
  EXPECT_EQ(first_character(""), "");
  EXPECT_EQ(first_character("\0a"s), "\0"s);
}

TEST(FirstCharacter, TakesAnIllFormedSequenceAlone) {
  EXPECT_EQ(first_character("\xff\u0301"), "\xff");
  EXPECT_EQ(first_character("\xe9\x87z"), "\xe9\x87");
  EXPECT_EQ(first_character("\xe9"), "\xe9");
}

// -- base64 -----------------------------------------------------------------------

TEST(Base64, MatchesTheVectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(base64_encode(plain), encoded);
    EXPECT_EQ(base64_decode(encoded).value(), plain);
  }
}

TEST(Base64, RoundTripsEveryByteAtEveryPosition) {
  std::string all;
  for (int i = 0; i < 256; ++i)
    all += static_cast<char>(i);
  for (size_t skip = 0; skip < 4; ++skip)
    EXPECT_EQ(base64_decode(base64_encode(all.substr(skip))).value(), all.substr(skip));
}

TEST(Base64, ReadsTheUrlAlphabetMissingPaddingAndWhiteSpace) {
  EXPECT_EQ(base64_decode("-_8").value(), "\xfb\xff");
  EXPECT_EQ(base64_decode("+/8=").value(), "\xfb\xff");
  EXPECT_EQ(base64_decode("Zm9v\r\n Ym\tFy\n").value(), "foobar");
  EXPECT_EQ(base64_decode("Zm9vYg").value(), "foob");
}

TEST(Base64, RefusesRubbish) {
  for (auto text :
       {"Zm9v!", "Z", "Zm9vY", "Zg=", "Zg===", "Zm8==", "Zg==Zg==", "=", "金毛犬", "Zm9v=Yg="}) {
    const auto result = base64_decode(text);
    ASSERT_FALSE(result) << text;
    EXPECT_EQ(result.error().code, errc::bad_base64);
  }
}

// -- SHA-256 ----------------------------------------------------------------------

TEST(Sha256, MatchesTheVectorsOfFips180) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, OfAFileIsThatOfItsContentAcrossBlocks) {
  temp_dir dir;
  const auto content = std::string((1 << 20) + 17, 'x') + "end";
  ASSERT_TRUE(write_file(dir.path() / "big", content));
  ASSERT_TRUE(write_file(dir.path() / "empty", ""));
  EXPECT_EQ(sha256_file(dir.path() / "big").value(), sha256_hex(content));
  EXPECT_EQ(sha256_file(dir.path() / "empty").value(), sha256_hex(""));
}

TEST(Sha256, OfAMissingFileOrAFolderNamesThePath) {
  temp_dir dir;
  for (const auto& path : {dir.path() / "absent", dir.path()}) {
    const auto result = sha256_file(path);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, errc::io);
    EXPECT_NE(result.error().message.find(path.string()), std::string::npos)
      << result.error().message;
  }
}

// -- closest ----------------------------------------------------------------------

TEST(Closest, FindsTheSlipOfTheHand) {
  const std::vector<std::string> known{"slots", "standbys", "grace_ms", "job_timeout_ms"};
  EXPECT_EQ(closest("slot", known), "slots");
  EXPECT_EQ(closest("stanbys", known), "standbys");
  EXPECT_EQ(closest("job_timout_ms", known), "job_timeout_ms");
  EXPECT_EQ(closest("slots", known), "slots");
}

TEST(Closest, IsSilentWhenNothingIsNear) {
  const std::vector<std::string> known{"slots", "standbys"};
  EXPECT_EQ(closest("colour", known), "");
  EXPECT_EQ(closest("x", known), "");
  EXPECT_EQ(closest("slots", {}), "");
}

TEST(Shorten, CutsBetweenCharactersAndSaysSo) {
  EXPECT_EQ(shorten("", 3), "");
  EXPECT_EQ(shorten("abcdef", 6), "abcdef");
  EXPECT_EQ(shorten("abcdefg", 6), "abc…");
  EXPECT_EQ(shorten("金毛犬", 9), "金毛犬");
  EXPECT_EQ(shorten("金毛犬x", 9), "金毛…");
  EXPECT_EQ(shorten("金毛犬x", 8), "金…");
  EXPECT_EQ(shorten("金毛犬x", 6), "金…");
  EXPECT_EQ(shorten("金毛犬x", 5), "…");
  EXPECT_EQ(shorten("金毛犬x", 3), "…");
  EXPECT_EQ(shorten("a😀b", 5), "a…") << "four bytes do not fit beside the mark";
}
