#include "base/text.hpp"

#include <openssl/evp.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>
#include <vector>

namespace ziyu {

namespace {

/// Length of the well-formed sequence at the start of `text` and its code point;
/// length 0 if it is ill-formed (RFC 3629 §4).
struct decoded {
  size_t length = 0;
  utf8proc_int32_t code = 0;
};

decoded decode_one(std::string_view text) noexcept {
  decoded result;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &result.code);
  result.length = length > 0 ? static_cast<size_t>(length) : 0;
  return result;
}

/// Whether a well-formed sequence could begin with `start`, at most 3 bytes. Where not every
/// continuation byte may follow, the least or the greatest one may.
bool may_go_on(std::string_view start) noexcept {
  for (const char filler : {'\x80', '\xbf'}) {
    std::array<char, 4> filled;
    filled.fill(filler);
    start.copy(filled.data(), start.size());
    if (decode_one({filled.data(), filled.size()}).length > start.size())
      return true;
  }
  return false;
}

/// How many bytes at the start of ill-formed `text` could have begun a
/// well-formed sequence; at least 1 (Unicode 15 §3.9, "maximal subpart").
size_t ill_formed_prefix(std::string_view text) noexcept {
  size_t n = 1;
  while (n < std::min<size_t>(text.size(), 3) && may_go_on(text.substr(0, n + 1)))
    ++n;
  return n;
}

/// The columns of one character, as wcwidth() has them in most terminals.
size_t columns_of(utf8proc_int32_t code) noexcept {
  const auto width = static_cast<size_t>(utf8proc_charwidth(code));
  const auto kind = utf8proc_get_property(code)->boundclass;
  if (kind == UTF8PROC_BOUNDCLASS_V || kind == UTF8PROC_BOUNDCLASS_T)
    return 0; // a Hangul vowel or final is drawn in the syllable before it
  // A vowel sign that stands beside its letter (in Hindi, for example) has no column in the
  // library, and one in a terminal.
  return utf8proc_category(code) == UTF8PROC_CATEGORY_MC ? std::max<size_t>(width, 1) : width;
}

constexpr char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

class sha256 {
public:
  sha256() { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, 32> digest;
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    std::string result;
    for (auto x : digest) {
      result += "0123456789abcdef"[x >> 4];
      result += "0123456789abcdef"[x & 15];
    }
    return result;
  }

private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free};
};

} // namespace

bool is_utf8(std::string_view text) noexcept {
  while (!text.empty()) {
    const auto next = decode_one(text);
    if (next.length == 0)
      return false;
    text.remove_prefix(next.length);
  }
  return true;
}

std::string to_utf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const auto next = decode_one(text);
    if (next.length == 0) {
      result += "\xef\xbf\xbd";
      text.remove_prefix(ill_formed_prefix(text));
    } else {
      result += text.substr(0, next.length);
      text.remove_prefix(next.length);
    }
  }
  return result;
}

std::string shorten(std::string_view text, size_t max_bytes) {
  constexpr std::string_view mark = "…";
  if (text.size() <= max_bytes)
    return std::string{text};
  auto end = max_bytes - mark.size();
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80)
    --end; // a character goes on here
  return std::string{text.substr(0, end)} + std::string{mark};
}

size_t display_width(std::string_view text) {
  size_t result = 0;
  while (!text.empty()) {
    const auto next = decode_one(text);
    result += next.length == 0 ? 1 : columns_of(next.code); // 1: shown as U+FFFD
    text.remove_prefix(next.length == 0 ? ill_formed_prefix(text) : next.length);
  }
  return result;
}

std::string_view first_character(std::string_view text) {
  if (text.empty())
    return text;
  auto last = decode_one(text);
  if (last.length == 0)
    return text.substr(0, ill_formed_prefix(text));
  size_t end = 0;
  for (utf8proc_int32_t state = 0; (end += last.length) < text.size();) {
    const auto next = decode_one(text.substr(end));
    if (next.length == 0 || utf8proc_grapheme_break_stateful(last.code, next.code, &state))
      break;
    last = next;
  }
  return text.substr(0, end);
}

std::string base64_encode(std::string_view bytes) {
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto n = std::min<size_t>(3, bytes.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (k < n ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k)
      result += k <= n ? alphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return result;
}

expected<std::string> base64_decode(std::string_view text) {
  static const auto values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    for (int i = 0; i < 64; ++i)
      table[static_cast<uint8_t>(alphabet[i])] = static_cast<int8_t>(i);
    table['-'] = 62;
    table['_'] = 63;
    for (auto c : {' ', '\t', '\r', '\n'})
      table[static_cast<uint8_t>(c)] = -2;
    return table;
  }();
  std::string result;
  result.reserve(text.size() / 4 * 3 + 3);
  uint32_t group = 0;
  size_t digits = 0, padding = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto value = values[static_cast<uint8_t>(text[i])];
    if (value == -2)
      continue;
    if (text[i] == '=') {
      ++padding;
      continue;
    }
    if (value == -1 || padding > 0)
      return fail(errc::bad_base64, "character " + std::to_string(i) + " is not base64");
    group = group << 6 | static_cast<uint32_t>(value);
    if (++digits % 4 == 0) {
      result += static_cast<char>(group >> 16);
      result += static_cast<char>(group >> 8);
      result += static_cast<char>(group);
      group = 0;
    }
  }
  const auto rest = digits % 4;
  if (rest == 1 || padding > 2 || (padding > 0 && (rest + padding) % 4 != 0))
    return fail(errc::bad_base64, "the text ends in the middle of a group");
  if (rest >= 2)
    result += static_cast<char>(group >> (rest == 2 ? 4 : 10));
  if (rest == 3)
    result += static_cast<char>(group >> 2);
  return result;
}

std::string sha256_hex(std::string_view bytes) {
  sha256 digest;
  digest.add(bytes);
  return digest.hex();
}

expected<std::string> sha256_file(const std::string& path) {
  errno = 0;
  std::ifstream in{path, std::ios::binary};
  if (!in)
    return fail(errc::io, "cannot read " + path + ": " + std::strerror(errno));
  sha256 digest;
  std::vector<char> block(1 << 20);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0)
    digest.add({block.data(), static_cast<size_t>(in.gcount())});
  if (in.bad())
    return fail(errc::io, "cannot read " + path + ": " + std::strerror(errno));
  return digest.hex();
}

std::string closest(std::string_view word, std::span<const std::string> candidates) {
  auto distance = [word](std::string_view other) {
    // Levenshtein, one row at a time.
    std::vector<size_t> row(other.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= word.size(); ++i) {
      auto diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j <= other.size(); ++j) {
        const auto substituted = diagonal + (word[i - 1] != other[j - 1]);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
      }
    }
    return row.back();
  };
  std::string best;
  auto least = word.size() / 3 + 2;
  for (const auto& x : candidates)
    if (auto d = distance(x); d < least) {
      least = d;
      best = x;
    }
  return best;
}

} // namespace ziyu
