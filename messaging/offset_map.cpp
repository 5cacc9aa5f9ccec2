#include "messaging/offset_map.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace ziyu::messaging {

namespace {

constexpr std::string_view family = "ziyu";
constexpr std::string_view prefix = "ziyu1:";
constexpr char mark_begin = ';';
constexpr std::string_view only_mark = "ziyu;"; ///< Metadata with a mark and an empty map.
constexpr size_t crc_bytes = 4;

enum form : char { runs = 0, bits = 1 };

// -- writing ------------------------------------------------------------------------

void put_number(std::string& to, uint64_t x) {
  for (; x >= 0x80; x >>= 7)
    to.push_back(static_cast<char>(x | 0x80));
  to.push_back(static_cast<char>(x));
}

/// CRC-32 (IEEE 802.3) of `text` behind the eight bytes of `base`: the same body with another
/// offset is not valid.
uint32_t checksum(int64_t base, std::string_view text) {
  static const auto table = [] {
    std::array<uint32_t, 256> result{};
    for (uint32_t i = 0; i < result.size(); ++i) {
      auto x = i;
      for (int bit = 0; bit < 8; ++bit)
        x = (x & 1) != 0 ? 0xEDB88320u ^ (x >> 1) : x >> 1;
      result[i] = x;
    }
    return result;
  }();
  auto crc = 0xFFFFFFFFu;
  auto add = [&crc](uint8_t x) { crc = table[(crc ^ x) & 0xFF] ^ (crc >> 8); };
  for (int shift = 0; shift < 64; shift += 8)
    add(static_cast<uint8_t>(static_cast<uint64_t>(base) >> shift));
  for (const auto x : text)
    add(static_cast<uint8_t>(x));
  return ~crc;
}

uint64_t distance(int64_t from, int64_t to) { return static_cast<uint64_t>(to - from); }

std::string as_runs(const std::vector<offset_range>& ranges, size_t count, int64_t base) {
  std::string text;
  auto at = base;
  for (size_t i = 0; i < count; ++i) {
    put_number(text, distance(at, ranges[i].first));
    put_number(text, distance(ranges[i].first, ranges[i].past));
    at = ranges[i].past;
  }
  return text;
}

std::string as_bits(const std::vector<offset_range>& ranges, size_t count, int64_t base) {
  std::string text((distance(base, ranges[count - 1].past) + 7) / 8, '\0');
  for (size_t i = 0; i < count; ++i)
    for (auto at = distance(base, ranges[i].first); at < distance(base, ranges[i].past); ++at)
      text[at / 8] = static_cast<char>(text[at / 8] | 1 << at % 8);
  return text;
}

std::string body(const offset_map& x, int64_t base, size_t ranges, size_t attempts) {
  auto finished = as_runs(x.finished, ranges, base);
  auto written = runs;
  if (ranges > 0 && (distance(base, x.finished[ranges - 1].past) + 7) / 8 < finished.size()) {
    written = bits;
    finished = as_bits(x.finished, ranges, base);
  }
  std::string text(1, written);
  put_number(text, finished.size());
  text += finished;
  put_number(text, x.begun_below ? distance(base, *x.begun_below) + 1 : 0);
  put_number(text, attempts);
  auto at = base;
  for (const auto& [offset, count] : x.attempts) {
    if (attempts-- == 0)
      break;
    put_number(text, distance(at, offset));
    put_number(text, count);
    at = offset;
  }
  return text;
}

/// Bytes of the metadata around a body of so many bytes.
size_t wrapped_bytes(size_t body_bytes) {
  return prefix.size() + (body_bytes + crc_bytes + 2) / 3 * 4;
}

// -- reading ------------------------------------------------------------------------

/// Takes numbers and texts from the front of a body. After a failure it returns only zeros and
/// empty texts.
class reader {
public:
  explicit reader(std::string_view text) : text_(text) {}

  bool good() const { return good_; }
  bool at_end() const { return text_.empty(); }

  uint64_t number() {
    uint64_t x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (text_.empty())
        break;
      const auto next = static_cast<uint8_t>(text_.front());
      text_.remove_prefix(1);
      if (shift == 63 && next > 1)
        break; // at most 64 bits
      x |= uint64_t{next & 0x7Fu} << shift;
      if (next < 0x80)
        return good_ ? x : 0;
    }
    return fail();
  }

  std::string_view text(uint64_t size) {
    if (size > text_.size()) {
      fail();
      return {};
    }
    const auto x = text_.substr(0, size);
    text_.remove_prefix(size);
    return x;
  }

  /// `from` + a number, unless the sum is not a valid offset.
  int64_t offset(int64_t from) {
    const auto x = number();
    if (x > distance(from, std::numeric_limits<int64_t>::max())) {
      fail();
      return from;
    }
    return from + static_cast<int64_t>(x);
  }

private:
  uint64_t fail() {
    good_ = false;
    text_ = {};
    return 0;
  }

  std::string_view text_;
  bool good_ = true;
};

bool read_runs(std::string_view text, int64_t base, std::vector<offset_range>& to) {
  reader in{text};
  auto at = base;
  while (in.good() && !in.at_end()) {
    offset_range x;
    x.first = in.offset(at);
    x.past = in.offset(x.first);
    if (!in.good() || x.first == at || x.past == x.first)
      return false;
    to.push_back(x);
    at = x.past;
  }
  return in.good();
}

bool read_bits(std::string_view text, int64_t base, std::vector<offset_range>& to) {
  if (text.empty() || distance(base, std::numeric_limits<int64_t>::max()) < text.size() * 8)
    return false;
  for (size_t i = 0; i < text.size() * 8; ++i) {
    if ((text[i / 8] >> i % 8 & 1) == 0)
      continue;
    const auto offset = base + static_cast<int64_t>(i);
    if (!to.empty() && to.back().past == offset)
      ++to.back().past;
    else
      to.push_back({offset, offset + 1});
  }
  return !to.empty() && to.front().first > base;
}

bool read_body(std::string_view text, int64_t base, offset_map& to) {
  reader in{text};
  const auto written = in.text(1);
  const auto finished = in.text(in.number());
  if (!in.good())
    return false;
  if (written.front() == runs ? !read_runs(finished, base, to.finished)
                              : written.front() != bits || !read_bits(finished, base, to.finished))
    return false;
  if (const auto mark = in.number(); mark > 0) {
    if (mark - 1 > distance(base, std::numeric_limits<int64_t>::max()))
      return false;
    to.begun_below = base + static_cast<int64_t>(mark - 1);
  }
  auto at = base;
  for (auto n = in.number(); n > 0 && in.good(); --n) {
    const auto offset = in.offset(at);
    const auto count = in.number();
    if (count == 0 || count > std::numeric_limits<uint32_t>::max() || to.has_finished(offset)
        || !to.attempts.emplace(offset, static_cast<uint32_t>(count)).second)
      return false;
    at = offset;
  }
  return in.good() && in.at_end();
}

} // namespace

bool offset_map::has_finished(int64_t offset) const {
  const auto i = std::upper_bound(finished.begin(), finished.end(), offset,
                                  [](int64_t at, const offset_range& x) { return at < x.first; });
  return i != finished.begin() && offset < std::prev(i)->past;
}

size_t offset_map_bytes(const offset_map& x, int64_t base) {
  return x.empty() ? 0 : wrapped_bytes(body(x, base, x.finished.size(), x.attempts.size()).size());
}

std::string encode_offset_map(const offset_map& x, int64_t base, size_t limit) {
  if (x.empty())
    return {};
  auto fits = [&](size_t ranges, size_t attempts) {
    return wrapped_bytes(body(x, base, ranges, attempts).size()) <= limit;
  };
  // The largest number up to `all` that fits. Sizes grow with the content (except for a byte or two
  // where runs and bits cross, which costs at most one range).
  auto largest = [](size_t all, auto&& enough) {
    if (enough(all))
      return all;
    size_t low = 0, high = all;
    while (high - low > 1) {
      const auto middle = low + (high - low) / 2;
      (enough(middle) ? low : high) = middle;
    }
    return low;
  };
  const auto attempts = largest(x.attempts.size(), [&](size_t n) { return fits(0, n); });
  const auto ranges = largest(x.finished.size(), [&](size_t n) { return fits(n, attempts); });
  auto text = body(x, base, ranges, attempts);
  if (wrapped_bytes(text.size()) > limit)
    return {};
  const auto crc = checksum(base, text);
  for (int shift = 0; shift < 32; shift += 8)
    text.push_back(static_cast<char>(crc >> shift));
  return std::string{prefix} + base64_encode(text);
}

std::string with_transaction_mark(std::string_view metadata, std::string_view mark) {
  std::string result{metadata.empty() ? family : metadata};
  result += mark_begin;
  result += mark;
  return result;
}

std::string_view transaction_mark(std::string_view metadata) {
  const auto at = metadata.find(mark_begin);
  return at == std::string_view::npos ? std::string_view{} : metadata.substr(at + 1);
}

decoded_offset_map decode_offset_map(std::string_view metadata, int64_t base,
                                     std::optional<int64_t> log_end) {
  auto ignored = [](std::string why) { return decoded_offset_map{{}, std::move(why)}; };
  if (metadata.empty())
    return {};
  if (!metadata.starts_with(family))
    return ignored("it was not written by ziyu");
  if (metadata.starts_with(only_mark) && metadata.find(':') == std::string_view::npos)
    return {};
  if (!metadata.starts_with(prefix))
    return ignored("its version is not known");
  if (base < 0 || metadata.size() > max_offset_metadata_bytes * 16)
    return ignored("it is corrupt");
  metadata = metadata.substr(0, metadata.find(mark_begin));
  const auto text = base64_decode(metadata.substr(prefix.size()));
  if (!text || text->size() < crc_bytes)
    return ignored("it is corrupt: not base64, or cut off");
  const auto content = std::string_view{*text}.substr(0, text->size() - crc_bytes);
  [[maybe_unused]] uint32_t crc = 0;
  for (size_t i = 0; i < crc_bytes; ++i)
    crc |= uint32_t{static_cast<uint8_t>((*text)[content.size() + i])} << (8 * i);
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION // else the fuzzer stops here
  if (crc != checksum(base, content))
    return ignored("it is corrupt, or belongs to another offset: wrong checksum");
#endif
  decoded_offset_map result;
  if (!read_body(content, base, result.map))
    return ignored("it is corrupt: its content makes no sense");
  if (log_end && !result.map.finished.empty() && result.map.finished.back().past > *log_end)
    return ignored("it has finished records beyond the end of the log, so it is of another log");
  return result;
}

} // namespace ziyu::messaging
