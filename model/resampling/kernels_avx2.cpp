#include "model/resampling/axis.hpp"
#include "model/resampling/kernels.hpp"

#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace ziyu::model {

#ifdef __x86_64__

// A weight of 24 bits is the sum of two that fit into 16: w = high * 2^12 + low. `vpmaddwd`
// multiplies 16 bits and adds pairs, so a group of four weights is two pairs of low parts, then two
// of high parts.

namespace {

#define ZIYU_AVX2 __attribute__((target("avx2")))

constexpr int low_bits = 12;

void pack(const int32_t* weights, int32_t* words) {
  const auto pair = [](int32_t first, int32_t second) {
    return static_cast<int32_t>((static_cast<uint32_t>(first) & 0xffff)
                                | static_cast<uint32_t>(second) << 16);
  };
  constexpr int32_t low = (1 << low_bits) - 1;
  words[0] = pair(weights[0] & low, weights[1] & low);
  words[1] = pair(weights[2] & low, weights[3] & low);
  words[2] = pair(weights[0] >> low_bits, weights[1] >> low_bits);
  words[3] = pair(weights[2] >> low_bits, weights[3] >> low_bits);
}

ZIYU_AVX2 inline __m256i joined(__m256i high, __m256i low) {
  return _mm256_add_epi32(_mm256_slli_epi32(high, low_bits), low);
}

/// The sum of products of 16 bits.
ZIYU_AVX2 inline __m256i added(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

ZIYU_AVX2 inline __m256i two_rows(const uint8_t* a, const uint8_t* b) {
  return _mm256_inserti128_si256(
    _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a))),
    _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), 1);
}

/// The sums of one output pixel in four rows, shifted to the size of pixels.
struct pixel {
  __m256i a, b; ///< Of the first two rows, one in each 128 bits, and of the other two.
};

ZIYU_AVX2 inline pixel pixel_of(const std::array<const uint8_t*, 4>& in,
                                const packed_axis::span& span, const int32_t*& words) {
  // Bytes of two neighbouring pixels, as words: red, red, green, green, blue, blue.
  const auto first_two = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const auto second_two = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  auto at = static_cast<size_t>(span.first) * 3;
  auto low_a = _mm256_set1_epi32(axis::half), low_b = low_a;
  auto high_a = _mm256_setzero_si256(), high_b = high_a;
  for (int i = 0; i < span.groups; ++i, at += 12, words += 4) {
    const auto a = two_rows(in[0] + at, in[1] + at), b = two_rows(in[2] + at, in[3] + at);
    const auto a1 = _mm256_shuffle_epi8(a, first_two), a2 = _mm256_shuffle_epi8(a, second_two);
    const auto b1 = _mm256_shuffle_epi8(b, first_two), b2 = _mm256_shuffle_epi8(b, second_two);
    const auto low1 = _mm256_set1_epi32(words[0]), low2 = _mm256_set1_epi32(words[1]);
    const auto high1 = _mm256_set1_epi32(words[2]), high2 = _mm256_set1_epi32(words[3]);
    low_a = added(added(low_a, a1, low1), a2, low2);
    high_a = added(added(high_a, a1, high1), a2, high2);
    low_b = added(added(low_b, b1, low1), b2, low2);
    high_b = added(added(high_b, b1, high1), b2, high2);
  }
  return {_mm256_srai_epi32(joined(high_a, low_a), axis::precision_bits),
          _mm256_srai_epi32(joined(high_b, low_b), axis::precision_bits)};
}

/// Four pixels of two rows.
ZIYU_AVX2 inline void put_four(uint8_t* first, uint8_t* second, __m256i p0, __m256i p1, __m256i p2,
                               __m256i p3) {
  const auto without_fourth = _mm256_broadcastsi128_si256(
    _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const auto pixels = _mm256_shuffle_epi8(
    _mm256_packus_epi16(_mm256_packs_epi32(p0, p1), _mm256_packs_epi32(p2, p3)), without_fourth);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(first), _mm256_castsi256_si128(pixels));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(second), _mm256_extracti128_si256(pixels, 1));
}

ZIYU_AVX2 void across_rgb(const std::array<const uint8_t*, 4>& in,
                          const std::array<uint8_t*, 4>& out, const packed_axis& columns) {
  const auto* words = columns.words.data();
  const auto count = columns.spans.size();
  for (size_t x = 0; x < count; x += 4) {
    const auto* span = columns.spans.data() + x;
    const auto zero = _mm256_setzero_si256();
    pixel p[4] = {{zero, zero}, {zero, zero}, {zero, zero}, {zero, zero}};
    for (size_t i = 0; i < 4 && x + i < count; ++i)
      p[i] = pixel_of(in, span[i], words);
    put_four(out[0] + 3 * x, out[1] + 3 * x, p[0].a, p[1].a, p[2].a, p[3].a);
    put_four(out[2] + 3 * x, out[3] + 3 * x, p[0].b, p[1].b, p[2].b, p[3].b);
  }
}

int four_bytes(const uint8_t* at) {
  int result;
  std::memcpy(&result, at, sizeof result);
  return result;
}

ZIYU_AVX2 void across_grey(const std::array<const uint8_t*, 4>& in,
                           const std::array<uint8_t*, 4>& out, const packed_axis& columns) {
  const auto* words = columns.words.data();
  for (size_t x = 0; x < columns.spans.size(); ++x) {
    const auto& span = columns.spans[x];
    auto at = static_cast<size_t>(span.first);
    auto low = _mm256_setzero_si256(), high = low;
    for (int i = 0; i < span.groups; ++i, at += 4, words += 4) {
      const auto pixels = _mm256_cvtepu8_epi16(
        _mm_setr_epi32(four_bytes(in[0] + at), four_bytes(in[1] + at), four_bytes(in[2] + at),
                       four_bytes(in[3] + at)));
      const auto weights = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
      low = added(low, pixels, _mm256_broadcastq_epi64(weights));
      high = added(high, pixels, _mm256_broadcastq_epi64(_mm_srli_si128(weights, 8)));
    }
    const auto sums = joined(high, low);
    const auto four = _mm256_permutevar8x32_epi32(_mm256_hadd_epi32(sums, sums),
                                                  _mm256_setr_epi32(0, 1, 4, 5, 0, 1, 4, 5));
    const auto shifted = _mm256_srai_epi32(_mm256_add_epi32(four, _mm256_set1_epi32(axis::half)),
                                           axis::precision_bits);
    const auto packed = _mm256_packs_epi32(shifted, shifted);
    const auto pixels = static_cast<uint32_t>(
      _mm256_extract_epi32(_mm256_packus_epi16(packed, packed), 0));
    for (size_t row = 0; row < 4; ++row)
      out[row][x] = static_cast<uint8_t>(pixels >> (8 * row));
  }
}

ZIYU_AVX2 inline __m256i load(const uint8_t* from, size_t left) {
  if (left >= 32)
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  alignas(32) uint8_t bytes[32] = {};
  std::memcpy(bytes, from, left);
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
}

ZIYU_AVX2 void down(const uint8_t* const* rows, const int32_t* words, size_t groups, size_t size,
                    const int32_t* before, int32_t* sums, uint8_t* out) {
  const auto zero = _mm256_setzero_si256();
  for (size_t at = 0; at < size; at += 32) {
    const auto left = size - at;
    __m256i low[4], high[4];
    for (int i = 0; i < 4; ++i) {
      low[i] = before == nullptr
                 ? _mm256_set1_epi32(axis::half)
                 : _mm256_loadu_si256(reinterpret_cast<const __m256i*>(before + at + 8 * i));
      high[i] = zero;
    }
    for (size_t pair = 0; pair < 2 * groups; ++pair) {
      const auto a = load(rows[2 * pair] + at, left), b = load(rows[2 * pair + 1] + at, left);
      const auto ab = _mm256_unpacklo_epi8(a, b), cd = _mm256_unpackhi_epi8(a, b);
      const __m256i pixels[] = {_mm256_unpacklo_epi8(ab, zero), _mm256_unpackhi_epi8(ab, zero),
                                _mm256_unpacklo_epi8(cd, zero), _mm256_unpackhi_epi8(cd, zero)};
      const auto* word = words + pair / 2 * 4 + pair % 2;
      const auto low_weights = _mm256_set1_epi32(word[0]);
      const auto high_weights = _mm256_set1_epi32(word[2]);
      for (int i = 0; i < 4; ++i) {
        low[i] = added(low[i], pixels[i], low_weights);
        high[i] = added(high[i], pixels[i], high_weights);
      }
    }
    for (int i = 0; i < 4; ++i)
      low[i] = joined(high[i], low[i]);
    if (out == nullptr) {
      for (int i = 0; i < 4; ++i)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + at + 8 * i), low[i]);
      continue;
    }
    for (auto& x : low)
      x = _mm256_srai_epi32(x, axis::precision_bits);
    alignas(32) uint8_t bytes[32];
    _mm256_store_si256(
      reinterpret_cast<__m256i*>(bytes),
      _mm256_packus_epi16(_mm256_packs_epi32(low[0], low[1]), _mm256_packs_epi32(low[2], low[3])));
    std::memcpy(out + at, bytes, left < 32 ? left : 32);
  }
}

#undef ZIYU_AVX2

} // namespace

const kernels* avx2_kernels() {
  static constexpr kernels result{"avx2", 4, pack, across_rgb, across_grey, down};
  return __builtin_cpu_supports("avx2") ? &result : nullptr;
}

#else

const kernels* avx2_kernels() { return nullptr; }

#endif

} // namespace ziyu::model
