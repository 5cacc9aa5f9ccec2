#pragma once

#include "supervision/leak_report.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// Recognises leaks by the call stacks of earlier explanations. Workers of one fork server have
/// all code at the same addresses, so that a stack that was named once is known by its
/// addresses alone. This needs neither symbols nor a helper process, and takes only the time to
/// read the dump. Pure; not thread-safe. Allocates its memory (16 bytes per stack) at the
/// start.
class stack_book {
public:
  /// @param capacity Stacks remembered, rounded up to a power of two, at least 4. A stack without a
  /// free place replaces the oldest of four.
  explicit stack_book(size_t capacity = 16'384);

  /// Remembers the stacks of a report that has been published as `report`, except those of cause
  /// `unknown`.
  void learn(const std::vector<stack_cause>& stacks, const std::string& report);

  /// Forgets everything: in a new fork server other code may be at these addresses.
  void clear();

  /// The known part of some growth.
  struct recognition {
    /// One site per cause with the bytes and objects of its known stacks, the largest first; for
    /// `name_cause`, which requires at least half of the growth. Unknown stacks make one site of
    /// cause `unknown`.
    std::vector<leak_site> sites;
    std::string report; ///< The report that named the largest known stack; empty: forgotten.
    double known = 0;   ///< Share of the growth whose stacks are known, 0..1.
  };

  /// @param heap heap_v2 text of a worker that was sampled since it began to leak.
  /// @returns Nothing when less than half of the growth is known, or `heap` is not a dump.
  std::optional<recognition> recognise(std::string_view heap) const;

  size_t size() const; ///< Stacks that are known.

private:
  static constexpr size_t ways = 4;

  struct entry {
    uint64_t fingerprint = 0;
    uint32_t report = 0;                    ///< Index from the first of `reports_` ever.
    leak_cause cause = leak_cause::unknown; ///< `unknown`: the place is free.
  };

  const entry* find(uint64_t fingerprint) const;
  size_t set_of(uint64_t fingerprint) const { return fingerprint % sets_ * ways; }

  size_t sets_;
  std::vector<entry> table_;
  std::vector<uint8_t> next_; ///< Per set: which place is replaced next.
  std::deque<std::string> reports_;
  uint32_t dropped_reports_ = 0;
};

} // namespace ziyu::supervision
