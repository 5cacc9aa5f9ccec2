#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ziyu::supervision {

/// Counts the kinds of input that a worker has seen, in bounded memory: a cache
/// keyed by shape can grow on new kinds only, so it is bounded by their number.
/// Pure; O(1) per call.
class shape_census {
public:
  /// Remembers at most `capacity` kinds (a power of two, at least 8). Each input of a later kind
  /// counts as new.
  explicit shape_census(size_t capacity = 2048);

  /// Takes one more job of kind `key` (any number); returns which visit of this
  /// kind it is, counted from 1.
  uint32_t visit(uint64_t key);

  /// Kinds seen so far.
  uint64_t distinct() const { return distinct_; }

  /// Least number of kinds to expect: Chao's lower bound from the kinds seen once and twice (Chao
  /// 1984, bias-corrected form).
  double expected() const;

  /// Probability that the next job is of a new kind (Good 1953).
  double unseen() const;

private:
  struct entry {
    uint64_t key = 0;
    uint32_t visits = 0; ///< 0: free.
  };
  size_t capacity_;
  std::vector<entry> table_; ///< Open addressing; grows up to twice the capacity.
  uint64_t jobs_ = 0, distinct_ = 0, once_ = 0, twice_ = 0;
  size_t used_ = 0;

  entry& locate(uint64_t key);
};

} // namespace ziyu::supervision
