#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace ziyu::model {

/// The weights of an axis in groups of four neighbouring samples, packed as one kernel wants them.
/// The last group of an output sample is filled up with zeros.
struct packed_axis {
  struct span {
    int first = 0;  ///< First input sample.
    int groups = 0; ///< Of its weights, one output sample's after the other's.
  };
  std::vector<span> spans;
  std::vector<int32_t> words;
};

/// The inner loops of resampling. All kernels give the same bytes: sums of whole numbers, modulo
/// 2^32, do not depend on the order of their additions. Pure; any thread.
struct kernels {
  const char* name; ///< "scalar", "avx2", "avx512"
  size_t words;     ///< Of a packed group.

  /// Packs four weights, each from -2^22 * 1.25 to 2^22 * 1.25.
  void (*pack)(const int32_t* weights, int32_t* words);

  /// Resamples four rows across, of three channels or of one. Reads up to `over_read` bytes behind
  /// a row's last sample that counts, and writes up to `over_write` bytes behind each result.
  using across_function = void (*)(const std::array<const uint8_t*, 4>& in,
                                   const std::array<uint8_t*, 4>& out, const packed_axis& columns);
  across_function across_rgb, across_grey;

  /// Adds `4 * groups` weighted rows of `size` bytes.
  /// @param before Sums of earlier rows, or null.
  /// @param sums Where the sums go if `out` is null: `sums_of(size)` numbers, in an order of the
  ///   kernel's own.
  /// @param out Where the resulting pixels go: `size` bytes.
  void (*down)(const uint8_t* const* rows, const int32_t* words, size_t groups, size_t size,
               const int32_t* before, int32_t* sums, uint8_t* out);

  static constexpr size_t over_read = 16, over_write = 16;
  static constexpr size_t sums_of(size_t size) { return (size + 63) / 64 * 64; }
};

/// The reference, for any processor.
const kernels& scalar_kernels();

/// Null where the processor lacks the instructions.
const kernels* avx2_kernels();
const kernels* avx512_kernels(); ///< With VNNI.

/// The fastest for this processor.
const kernels& best_kernels();

} // namespace ziyu::model
