#include "model/resampling/axis.hpp"
#include "model/resampling/kernels.hpp"

#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace ziyu::model {

#ifdef __x86_64__

// A weight of 24 bits is the sum of three signed bytes: w = d2 * 2^16 + d1 * 2^8 + d0. `vpdpbusd`
// multiplies four unsigned bytes by four signed ones and adds them up, so a group of four weights
// is a word of each digit.

namespace {

#define ZIYU_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

void pack(const int32_t* weights, int32_t* words) {
  uint32_t digits[3] = {};
  for (int i = 0; i < 4; ++i) {
    auto rest = weights[i];
    for (auto& digit : digits) {
      const auto low = static_cast<int8_t>(rest);
      digit |= uint32_t{static_cast<uint8_t>(low)} << (8 * i);
      rest = (rest - low) >> 8;
    }
  }
  for (int i = 0; i < 3; ++i)
    words[i] = static_cast<int32_t>(digits[i]);
}

ZIYU_AVX512 inline __m512i joined(__m512i d2, __m512i d1, __m512i d0) {
  return _mm512_add_epi32(_mm512_slli_epi32(_mm512_add_epi32(_mm512_slli_epi32(d2, 8), d1), 8), d0);
}

ZIYU_AVX512 inline __m128i sixteen(const uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

ZIYU_AVX512 inline void put_sixteen(uint8_t* at, __m128i bytes) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(at), bytes);
}

/// The sums of one output pixel in four rows, one in each 128 bits, shifted to the size of pixels.
ZIYU_AVX512 inline __m512i pixel_of(const std::array<const uint8_t*, 4>& in,
                                    const packed_axis::span& span, const int32_t*& words) {
  // Bytes of four neighbouring pixels: four red ones, four green ones, four blue ones.
  const auto by_colour = _mm512_broadcast_i32x4(
    _mm_setr_epi8(0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, -1, -1, -1, -1));
  auto at = static_cast<size_t>(span.first) * 3;
  auto d0 = _mm512_set1_epi32(axis::half), d1 = _mm512_setzero_si512(), d2 = d1;
  for (int i = 0; i < span.groups; ++i, at += 12, words += 3) {
    auto rows = _mm512_castsi128_si512(sixteen(in[0] + at));
    rows = _mm512_inserti32x4(rows, sixteen(in[1] + at), 1);
    rows = _mm512_inserti32x4(rows, sixteen(in[2] + at), 2);
    rows = _mm512_inserti32x4(rows, sixteen(in[3] + at), 3);
    rows = _mm512_shuffle_epi8(rows, by_colour);
    d0 = _mm512_dpbusd_epi32(d0, rows, _mm512_set1_epi32(words[0]));
    d1 = _mm512_dpbusd_epi32(d1, rows, _mm512_set1_epi32(words[1]));
    d2 = _mm512_dpbusd_epi32(d2, rows, _mm512_set1_epi32(words[2]));
  }
  return _mm512_srai_epi32(joined(d2, d1, d0), axis::precision_bits);
}

ZIYU_AVX512 void across_rgb(const std::array<const uint8_t*, 4>& in,
                            const std::array<uint8_t*, 4>& out, const packed_axis& columns) {
  const auto without_fourth = _mm512_broadcast_i32x4(
    _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1));
  const auto* words = columns.words.data();
  const auto count = columns.spans.size();
  for (size_t x = 0; x < count; x += 4) {
    const auto* span = columns.spans.data() + x;
    auto p0 = pixel_of(in, span[0], words), p1 = _mm512_setzero_si512(), p2 = p1, p3 = p1;
    if (x + 1 < count)
      p1 = pixel_of(in, span[1], words);
    if (x + 2 < count)
      p2 = pixel_of(in, span[2], words);
    if (x + 3 < count)
      p3 = pixel_of(in, span[3], words);
    const auto pixels = _mm512_shuffle_epi8(
      _mm512_packus_epi16(_mm512_packs_epi32(p0, p1), _mm512_packs_epi32(p2, p3)), without_fourth);
    put_sixteen(out[0] + 3 * x, _mm512_castsi512_si128(pixels));
    put_sixteen(out[1] + 3 * x, _mm512_extracti32x4_epi32(pixels, 1));
    put_sixteen(out[2] + 3 * x, _mm512_extracti32x4_epi32(pixels, 2));
    put_sixteen(out[3] + 3 * x, _mm512_extracti32x4_epi32(pixels, 3));
  }
}

int four_bytes(const uint8_t* at) {
  int result;
  std::memcpy(&result, at, sizeof result);
  return result;
}

ZIYU_AVX512 void across_grey(const std::array<const uint8_t*, 4>& in,
                             const std::array<uint8_t*, 4>& out, const packed_axis& columns) {
  const auto* words = columns.words.data();
  for (size_t x = 0; x < columns.spans.size(); ++x) {
    const auto& span = columns.spans[x];
    auto at = static_cast<size_t>(span.first);
    auto d0 = _mm_set1_epi32(axis::half), d1 = _mm_setzero_si128(), d2 = d1;
    for (int i = 0; i < span.groups; ++i, at += 4, words += 3) {
      const auto rows = _mm_setr_epi32(four_bytes(in[0] + at), four_bytes(in[1] + at),
                                       four_bytes(in[2] + at), four_bytes(in[3] + at));
      d0 = _mm_dpbusd_epi32(d0, rows, _mm_set1_epi32(words[0]));
      d1 = _mm_dpbusd_epi32(d1, rows, _mm_set1_epi32(words[1]));
      d2 = _mm_dpbusd_epi32(d2, rows, _mm_set1_epi32(words[2]));
    }
    const auto sums = _mm_add_epi32(_mm_slli_epi32(_mm_add_epi32(_mm_slli_epi32(d2, 8), d1), 8),
                                    d0);
    const auto shifted = _mm_srai_epi32(sums, axis::precision_bits);
    const auto packed = _mm_packs_epi32(shifted, shifted);
    const auto pixels = static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_packus_epi16(packed, packed)));
    for (size_t row = 0; row < 4; ++row)
      out[row][x] = static_cast<uint8_t>(pixels >> (8 * row));
  }
}

template <bool whole>
ZIYU_AVX512 inline __m512i load(const uint8_t* from, __mmask64 mask) {
  if constexpr (whole)
    return _mm512_loadu_si512(from);
  else
    return _mm512_maskz_loadu_epi8(mask, from);
}

/// `down` for 64 bytes at `at`, or those of them that are in `mask`.
template <bool whole>
ZIYU_AVX512 inline void down_64(const uint8_t* const* rows, const int32_t* words, size_t groups,
                                size_t at, __mmask64 mask, const int32_t* before, int32_t* sums,
                                uint8_t* out) {
  __m512i d0[4], d1[4], d2[4];
  for (int i = 0; i < 4; ++i) {
    d0[i] = before == nullptr ? _mm512_set1_epi32(axis::half)
                              : _mm512_loadu_si512(before + at + 16 * i);
    d1[i] = d2[i] = _mm512_setzero_si512();
  }
  for (size_t group = 0; group < groups; ++group, rows += 4, words += 3) {
    const auto a = load<whole>(rows[0] + at, mask), b = load<whole>(rows[1] + at, mask);
    const auto c = load<whole>(rows[2] + at, mask), d = load<whole>(rows[3] + at, mask);
    const auto ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const auto cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    const __m512i pixels[] = {
      _mm512_unpacklo_epi16(ab_low, cd_low), _mm512_unpackhi_epi16(ab_low, cd_low),
      _mm512_unpacklo_epi16(ab_high, cd_high), _mm512_unpackhi_epi16(ab_high, cd_high)};
    const auto w0 = _mm512_set1_epi32(words[0]), w1 = _mm512_set1_epi32(words[1]),
               w2 = _mm512_set1_epi32(words[2]);
    for (int i = 0; i < 4; ++i) {
      d0[i] = _mm512_dpbusd_epi32(d0[i], pixels[i], w0);
      d1[i] = _mm512_dpbusd_epi32(d1[i], pixels[i], w1);
      d2[i] = _mm512_dpbusd_epi32(d2[i], pixels[i], w2);
    }
  }
  for (int i = 0; i < 4; ++i)
    d0[i] = joined(d2[i], d1[i], d0[i]);
  if (out == nullptr) {
    for (int i = 0; i < 4; ++i)
      _mm512_storeu_si512(sums + at + 16 * i, d0[i]);
    return;
  }
  for (auto& x : d0)
    x = _mm512_srai_epi32(x, axis::precision_bits);
  const auto pixels = _mm512_packus_epi16(_mm512_packs_epi32(d0[0], d0[1]),
                                          _mm512_packs_epi32(d0[2], d0[3]));
  if constexpr (whole)
    _mm512_storeu_si512(out + at, pixels);
  else
    _mm512_mask_storeu_epi8(out + at, mask, pixels);
}

ZIYU_AVX512 void down(const uint8_t* const* rows, const int32_t* words, size_t groups, size_t size,
                      const int32_t* before, int32_t* sums, uint8_t* out) {
  size_t at = 0;
  for (; at + 64 <= size; at += 64)
    down_64<true>(rows, words, groups, at, 0, before, sums, out);
  if (at < size)
    down_64<false>(rows, words, groups, at, (__mmask64{1} << (size - at)) - 1, before, sums, out);
}

#undef ZIYU_AVX512

} // namespace

const kernels* avx512_kernels() {
  static constexpr kernels result{"avx512", 3, pack, across_rgb, across_grey, down};
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
             && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")
           ? &result
           : nullptr;
}

#else

const kernels* avx512_kernels() { return nullptr; }

#endif

} // namespace ziyu::model
