#include "cli/common/job_files.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <gtest/gtest.h>

#include <sstream>

using namespace ziyu;
using namespace ziyu::cli;
namespace fs = std::filesystem;

namespace {

class JobFiles : public ::testing::Test {
protected:
  fs::path make(const std::string& name) {
    const auto path = dir.path() / name;
    fs::create_directories(path.parent_path());
    EXPECT_TRUE(write_file(path, "x"));
    return path;
  }

  expected<std::vector<std::string>> names(const std::vector<std::string>& arguments,
                                           const std::string& list = "") {
    std::istringstream in{list};
    auto files = find_job_files(arguments, in);
    if (!files)
      return tl::unexpected(files.error());
    std::vector<std::string> result;
    for (const auto& x : *files) {
      EXPECT_TRUE(fs::exists(x.path)) << x.path;
      result.push_back(x.name);
    }
    return result;
  }

  temp_dir dir{"ziyu-job-files"};
};

using names_t = std::vector<std::string>;

} // namespace

TEST_F(JobFiles, TakesAFileWhateverItsName) {
  EXPECT_EQ(names({make("odd.name").string()}).value(), names_t{"odd.name"});
}

TEST_F(JobFiles, TakesTheImagesOfAFolderAndBelowInOrder) {
  make("b.png");
  make("a/z.JPG");
  make("a/c.jpeg");
  make("notes.txt");
  make("labels.json");
  EXPECT_EQ(names({dir.path().string()}).value(), (names_t{"a/c.jpeg", "a/z.JPG", "b.png"}));
  EXPECT_EQ(names({dir.path().string() + "/"}).value(), (names_t{"a/c.jpeg", "a/z.JPG", "b.png"}));
}

TEST_F(JobFiles, ReadsAListWithEitherLineEnd) {
  const auto one = make("one.png").string(), two = make("two.png").string();
  EXPECT_EQ(names({"-"}, one + "\r\n\r\n" + two).value(), (names_t{"one.png", "two.png"}));
  EXPECT_EQ(names({two, "-"}, one + "\n").value(), (names_t{"two.png", "one.png"}));
}

TEST_F(JobFiles, KeepsUnicodeNamesAndMendsOthers) {
  EXPECT_EQ(names({make("金毛犬 1.png").string()}).value(), names_t{"金毛犬 1.png"});
  EXPECT_EQ(names({make("bad\xff.png").string()}).value(), names_t{"bad\uFFFD.png"});
}

TEST_F(JobFiles, SaysWhatIsMissing) {
  const auto absent = (dir.path() / "absent.png").string();
  const auto refused = names({make("there.png").string(), absent});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::invalid_usage);
  EXPECT_EQ(refused.error().message, absent + ": no such file or folder");
  EXPECT_EQ(names({"-"}, absent).error().code, errc::invalid_usage);
}

TEST_F(JobFiles, RefusesFoldersWithoutImagesAndEmptyLists) {
  make("notes.txt");
  EXPECT_EQ(names({dir.path().string()}).error().message,
            dir.path().string() + ": no images in this folder");
  EXPECT_EQ(names({"-"}, "\n\r\n").error().message, "there is nothing to submit");
}

TEST(JobIds, AreUniqueOverRunsWithoutAPrefix) {
  job_ids first{std::nullopt, 0x123456789abcdef0}, second{std::nullopt, 0x0fedcba987654321};
  const auto a = first.next("x.png"), b = first.next("x.png"), c = second.next("x.png");
  EXPECT_EQ(a, "x.png-789abcdef0-1");
  EXPECT_EQ(b, "x.png-789abcdef0-2");
  EXPECT_NE(a, c);
}

TEST(JobIds, AreTheSameInEachRunWithAPrefix) {
  for (const uint64_t random : {1, 2}) {
    job_ids ids{"day-1/", random};
    EXPECT_EQ(ids.next("x.png"), "day-1/x.png");
    EXPECT_EQ(ids.next("x.png"), "day-1/x.png-2");
    EXPECT_EQ(ids.next("x.png-2"), "day-1/x.png-2-2");
    EXPECT_EQ(ids.next("x.png"), "day-1/x.png-3");
  }
}

TEST(JobIds, AreTheNamesThemselvesWithAnEmptyPrefix) {
  job_ids ids{"", 1};
  EXPECT_EQ(ids.next("x.png"), "x.png");
  EXPECT_EQ(ids.next("x.png"), "x.png-2");
}

TEST(JobIds, AreUtf8WhateverThePrefix) {
  job_ids ids{"\xff", 1};
  EXPECT_TRUE(is_utf8(ids.next("零.png")));
}
