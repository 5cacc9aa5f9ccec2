#pragma once

#include "supervision/leak_report.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// Recognises leaks that were explained before by their call stacks. Workers of one fork
/// server have all code at the same addresses, so that a stack which was named once is
/// known by its addresses alone: without symbols and without a helper process, in the time
/// that it takes to read the dump. Pure; not thread-safe. Its memory (16 bytes per stack) is
/// taken at the start.
class stack_book {
public:
  /// @param capacity Stacks remembered, rounded up to a power of two, at least 4; one that
  /// finds no place takes that of the oldest of four.
  explicit stack_book(size_t capacity = 16'384);

  /// Remembers the stacks of a report that has been published as `report`; those of cause
  /// `unknown` are not worth it.
  void learn(const std::vector<stack_cause>& stacks, const std::string& report);

  /// Forgets everything: after a new fork server other code may be at these addresses.
  void clear();

  /// What is known of some growth.
  struct recognition {
    /// A site per cause with the bytes and objects known to be its, the largest first; for
    /// `name_cause`, which wants at least half of the growth. Stacks that are not known
    /// make one of cause `unknown`.
    std::vector<leak_site> sites;
    std::string report; ///< That named the largest known stack; empty: too long ago.
    double known = 0;   ///< Share of the growth whose stacks are known, 0..1.
  };

  /// @param heap heap_v2 text of a worker that was sampled since it began to leak.
  /// @returns nothing when less than half of the growth is known, or `heap` is no dump.
  std::optional<recognition> recognise(std::string_view heap) const;

  size_t size() const; ///< Stacks that are known.

private:
  static constexpr size_t ways = 4;

  struct entry {
    uint64_t fingerprint = 0;
    uint32_t report = 0;                    ///< Index from the first of `reports_` ever.
    leak_cause cause = leak_cause::unknown; ///< Then there is none.
  };

  const entry* find(uint64_t fingerprint) const;
  size_t set_of(uint64_t fingerprint) const { return fingerprint % sets_ * ways; }

  size_t sets_;
  std::vector<entry> table_;
  std::vector<uint8_t> next_; ///< Per set: whose place is taken next.
  std::deque<std::string> reports_;
  uint32_t dropped_reports_ = 0;
};

} // namespace ziyu::supervision
