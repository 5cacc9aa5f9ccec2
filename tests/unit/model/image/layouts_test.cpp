#include "model/decoder.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "support/peak.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>

using namespace ziyu;
using namespace ziyu::model;
using ziyu::test::in_child;

// tests/data/layouts has a file of every layout of each format, made by tools/make_layouts.py, with
// Pillow's result for it. The same hashes and reasons must come out on every system.

namespace {

const std::filesystem::path folder = std::filesystem::path{test::source_dir()}
                                     / "tests/data/layouts";

std::string content(const std::string& name) { return read_file(folder / name).value(); }

nlohmann::json expectations() { return nlohmann::json::parse(content("expected.json")); }

/// "PNG of 41×23 is truncated" → "… is truncated".
std::string general(const std::string& message) {
  const auto times = message.find("×");
  const auto of = message.find(" of ");
  if (times == std::string::npos || of == std::string::npos || of > times
      || message.find_first_not_of("0123456789", of + 4) != times)
    return message;
  return "…" + message.substr(message.find(' ', times));
}

/// What the table in docs/model-folder.md says of each row.
std::map<std::string, std::string> documented() {
  const auto text =
    read_file(std::filesystem::path{test::source_dir()} / "docs/model-folder.md").value();
  const std::string start = "<!-- layouts -->\n| layout | outcome |\n|---|---|\n";
  const auto from = text.find(start), to = text.find("<!-- end of layouts -->");
  EXPECT_NE(from, std::string::npos);
  EXPECT_NE(to, std::string::npos);
  std::map<std::string, std::string> result;
  std::istringstream lines{text.substr(from + start.size(), to - from - start.size())};
  for (std::string line; std::getline(lines, line);) {
    const auto middle = line.find(" | ");
    result[line.substr(2, middle - 2)] = line.substr(middle + 3, line.size() - middle - 5);
  }
  return result;
}

} // namespace

TEST(Layouts, EachIsPillowsPixelsOrRefusedByName) {
  const auto table = expectations();
  ASSERT_GE(table.size(), 300u);
  for (const auto& [name, want] : table.items()) {
    const auto image = decode_image(content(name));
    if (want.contains("reason")) {
      EXPECT_FALSE(image) << name << " was decoded";
      if (image)
        continue;
      EXPECT_EQ(image.error().code, errc::undecodable_image) << name;
      EXPECT_EQ(general(image.error().message), want["reason"].get<std::string>()) << name;
      continue;
    }
    EXPECT_TRUE(image) << name << ": " << image.error().message;
    if (!image)
      continue;
    const auto pixels = upright(*image);
    EXPECT_EQ(pixels.width(), want["size"][0].get<uint32_t>()) << name;
    EXPECT_EQ(pixels.height(), want["size"][1].get<uint32_t>()) << name;
    const std::string_view bytes{reinterpret_cast<const char*>(pixels.data()), pixels.size()};
    EXPECT_EQ(sha256_hex(bytes), want["sha256"].get<std::string>()) << name;
  }
}

TEST(Layouts, AreDocumentedAsTheyAre) {
  auto rows = documented();
  ASSERT_GE(rows.size(), 250u);
  std::set<std::string> seen;
  const auto table = expectations();
  for (const auto& [name, want] : table.items()) {
    const auto row = want["row"].get<std::string>();
    seen.insert(row);
    const auto image = decode_image(content(name));
    auto outcome = image ? "decoded" : "refused: “" + general(image.error().message) + "”";
    if (want.contains("note"))
      outcome += " (" + want["note"].get<std::string>() + ")";
    EXPECT_EQ(rows[row], outcome) << name << "; tools/make_layouts.py writes the table";
  }
  EXPECT_EQ(rows.size(), seen.size()) << "the table has rows of no file";
}

// For any bytes there is an answer, and it takes no more memory than the header has announced.
TEST(Layouts, ChangedBytesCostNoMoreThanTheyAnnounce) {
  const decode_limits limits{.max_pixels = 2'000'000, .max_peak_bytes = uint64_t{32} << 20};
  const auto table = expectations();
  const auto taken = in_child([&] {
    std::mt19937 random{20};
    for (const auto& [name, want] : table.items()) {
      const auto whole = content(name);
      for (int round = 0; round < 12; ++round) {
        auto bytes = whole.substr(0, round % 3 == 0 ? random() % (whole.size() + 1) : whole.size());
        for (auto changes = 1 + random() % 4; changes > 0 && !bytes.empty(); --changes) {
          // Most of the structure is at the start.
          const auto at =
            random() % (random() % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 128));
          constexpr unsigned char extremes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
          bytes[at] = static_cast<char>(random() % 2 == 0 ? extremes[random() % 5] : random());
        }
        const auto image = decode_image(bytes, limits);
        if (!image && image.error().code == errc::inference_failed)
          return false; // out of memory
        if (image)
          static_cast<void>(upright(*image));
      }
    }
    return true;
  });
  EXPECT_TRUE(taken.succeeded);
  // The images and upright copies; glibc keeps some of what is free.
  EXPECT_LE(taken.peak_bytes, 2 * limits.max_peak_bytes);
}
