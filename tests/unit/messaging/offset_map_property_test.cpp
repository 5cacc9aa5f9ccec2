// Thousands of random maps through the codec, beside a model that knows each offset by
// itself, and thousands of damaged or random texts, which must never be believed.

#include "base/text.hpp"
#include "messaging/offset_map.hpp"
#include "tests/support/offset_map_checks.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <set>

using namespace ziyu;
using namespace ziyu::messaging;
using ziyu::test::is_sound;

namespace {

class dice {
public:
  explicit dice(uint64_t seed) : random_(seed) {}
  uint64_t below(uint64_t n) { return random_() % n; }

  /// Of any magnitude.
  int64_t offset() {
    return static_cast<int64_t>(random_() >> (1 + below(62))) & ~(int64_t{1} << 61);
  }

private:
  std::mt19937_64 random_;
};

/// Each offset beyond the base by itself.
struct flat_map {
  int64_t base = 0;
  std::set<int64_t> finished;
  std::map<int64_t, uint32_t> attempts;
  std::optional<int64_t> begun_below;

  explicit flat_map(dice& d) : base(d.offset()) {
    const auto density = 1 + d.below(20);
    const auto length = d.below(d.below(4) == 0 ? 3'000 : 100);
    const auto stretch = d.below(3) == 0 ? d.below(50) : 0;
    for (uint64_t i = 1; i < length; ++i) {
      const auto offset = base + static_cast<int64_t>(i + stretch);
      if (d.below(20) < density)
        finished.insert(offset);
      else if (d.below(4) == 0)
        attempts[offset] = static_cast<uint32_t>(1 + d.below(d.below(9) == 0 ? 4'000'000'000 : 5));
    }
    if (d.below(2) == 0)
      attempts[base] = 1;
    if (d.below(2) == 0)
      begun_below = base + static_cast<int64_t>(d.below(5'000));
  }

  offset_map folded() const {
    offset_map x;
    for (const auto offset : finished) {
      if (!x.finished.empty() && x.finished.back().past == offset)
        ++x.finished.back().past;
      else
        x.finished.push_back({offset, offset + 1});
    }
    x.attempts = attempts;
    x.begun_below = begun_below;
    return x;
  }
};

} // namespace

TEST(OffsetMapProperty, EveryMapComesBackAndAnswersLikeTheModel) {
  size_t bytes = 0;
  for (uint64_t seed = 1; seed <= 5'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    dice d{seed};
    const flat_map model{d};
    const auto x = model.folded();
    const auto text = encode_offset_map(x, model.base, 1u << 20);
    ASSERT_EQ(text.size(), offset_map_bytes(x, model.base));
    ASSERT_TRUE(is_utf8(text));
    bytes += text.size();
    const auto back = decode_offset_map(text, model.base);
    ASSERT_EQ(back.ignored, "");
    ASSERT_EQ(back.map, x);
    for (auto i = 0; i < 50; ++i) {
      const auto offset = model.base + static_cast<int64_t>(d.below(3'100));
      ASSERT_EQ(back.map.has_finished(offset), model.finished.contains(offset)) << offset;
    }
  }
  EXPECT_GT(bytes, 500'000u) << "the maps were not all empty";
}

TEST(OffsetMapProperty, AMapCutToAnyLimitSaysLessButNothingWrong) {
  size_t cut = 0;
  for (uint64_t seed = 1; seed <= 3'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    dice d{seed};
    const flat_map model{d};
    const auto limit = d.below(600);
    const auto text = encode_offset_map(model.folded(), model.base, limit);
    ASSERT_LE(text.size(), limit);
    const auto back = decode_offset_map(text, model.base);
    ASSERT_EQ(back.ignored, "");
    ASSERT_TRUE(is_sound(back, model.base));
    for (const auto& range : back.map.finished)
      for (auto offset = range.first; offset < range.past; ++offset)
        ASSERT_TRUE(model.finished.contains(offset)) << offset << " would be lost";
    for (const auto& [offset, count] : back.map.attempts)
      ASSERT_EQ(model.attempts.at(offset), count);
    if (!text.empty()) {
      ASSERT_EQ(back.map.begun_below, model.begun_below);
    }
    cut += text.size() < offset_map_bytes(model.folded(), model.base);
  }
  EXPECT_GT(cut, 300u);
}

TEST(OffsetMapProperty, DamagedMetadataIsIgnored) {
  size_t ignored = 0;
  for (uint64_t seed = 1; seed <= 20'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    dice d{seed};
    const flat_map model{d};
    auto text = encode_offset_map(model.folded(), model.base);
    if (text.empty())
      continue;
    switch (d.below(4)) {
    case 0: text.resize(d.below(text.size())); break;
    case 1: text[d.below(text.size())] ^= static_cast<char>(1u << d.below(8)); break;
    case 2: text.insert(d.below(text.size() + 1), 1, static_cast<char>(d.below(256))); break;
    default: // the bytes below the base64
      if (auto bytes = base64_decode(std::string_view{text}.substr(6)); bytes && !bytes->empty()) {
        (*bytes)[d.below(bytes->size())] ^= static_cast<char>(1u << d.below(8));
        text = "ziyu1:" + base64_encode(*bytes);
      }
      break;
    }
    const auto back = decode_offset_map(text, model.base);
    ASSERT_TRUE(is_sound(back, model.base));
    if (back.ignored.empty()) {
      // White space, the other alphabet or nothing at all: still the same map.
      ASSERT_TRUE(
        back.map.empty()
        || back.map
             == decode_offset_map(encode_offset_map(model.folded(), model.base), model.base).map);
    } else {
      ++ignored;
    }
  }
  EXPECT_GT(ignored, 15'000u);
}

TEST(OffsetMapProperty, RandomTextIsNeverBelieved) {
  for (uint64_t seed = 1; seed <= 20'000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    dice d{seed};
    std::string bytes(d.below(200), '\0');
    for (auto& x : bytes)
      x = static_cast<char>(d.below(256));
    const auto base = d.offset();
    for (const auto& text : {bytes, "ziyu1:" + bytes, "ziyu1:" + base64_encode(bytes)}) {
      const auto back = decode_offset_map(text, base);
      ASSERT_TRUE(is_sound(back, base));
      ASSERT_TRUE(text.empty() || !back.ignored.empty()) << text;
    }
  }
}

TEST(OffsetMapProperty, OffsetsAtTheEndOfTheRangeDoNotOverflow) {
  constexpr auto most = std::numeric_limits<int64_t>::max();
  offset_map x;
  x.finished = {{most - 5, most - 2}, {most - 1, most}};
  x.attempts = {{0, 1}, {most, 7}};
  x.begun_below = most;
  const auto back = decode_offset_map(encode_offset_map(x, 0), 0, most);
  EXPECT_EQ(back.ignored, "");
  EXPECT_EQ(back.map, x);
}
