#pragma once

#include "supervision/heap_profile.hpp"
#include "supervision/leak_report.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace ziyu::supervision {

/// Recognises leaks that were explained before by their call stacks. Workers of one fork
/// server have all code at the same addresses, so that a stack which was named once is
/// known by its addresses alone: without symbols, without a helper process, in
/// microseconds. Pure; not thread-safe; bounded memory, some 100 bytes per stack.
class stack_book {
public:
  /// @param capacity Stacks remembered; the oldest go first.
  explicit stack_book(size_t capacity = 4'096) : capacity_(capacity) {}

  /// Remembers the stacks of a report that has been published as `report`.
  void learn(const std::vector<stack_cause>& stacks, const std::string& report);

  /// Forgets everything: after a new fork server other code may be at these addresses.
  void clear();

  /// What is known of some growth.
  struct recognition {
    /// A site per cause with the bytes known to be its, the largest first; for
    /// `name_cause`, which wants at least half of the growth. Stacks that are not known
    /// make one of cause `unknown`.
    std::vector<leak_site> sites;
    std::string report; ///< That named the largest known stack.
    double known = 0;   ///< Share of the growth whose stacks are known, 0..1.
  };

  /// @returns nothing when less than half of the growth is known.
  std::optional<recognition> recognise(const std::vector<stack_growth>& growth) const;

  size_t size() const { return known_.size(); }

private:
  struct entry {
    leak_cause cause;
    uint32_t report; ///< Index from the first of `reports_` ever.
  };

  size_t capacity_;
  std::unordered_map<uint64_t, entry> known_; ///< By fingerprint.
  std::deque<uint64_t> order_;                ///< Of `known_`, the oldest first.
  std::deque<std::string> reports_;
  uint32_t dropped_reports_ = 0;
};

} // namespace ziyu::supervision
