#include "supervision/stack_book.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace ziyu::supervision {

namespace {

/// Reports whose ids are kept; of a stack of an older report only the cause is known.
constexpr size_t max_reports = 256;

constexpr auto causes = static_cast<size_t>(leak_cause::unknown) + 1;

} // namespace

stack_book::stack_book(size_t capacity)
  : sets_(std::bit_ceil(std::max(capacity, ways)) / ways), table_(sets_ * ways), next_(sets_) {
  // nop
}

const stack_book::entry* stack_book::find(uint64_t fingerprint) const {
  const auto set = set_of(fingerprint);
  for (auto i = set; i < set + ways; ++i)
    if (table_[i].fingerprint == fingerprint && table_[i].cause != leak_cause::unknown)
      return &table_[i];
  return nullptr;
}

void stack_book::learn(const std::vector<stack_cause>& stacks, const std::string& report) {
  reports_.push_back(report);
  if (reports_.size() > max_reports) {
    reports_.pop_front();
    ++dropped_reports_;
  }
  const auto number = dropped_reports_ + static_cast<uint32_t>(reports_.size()) - 1;
  for (const auto& x : stacks) {
    if (x.cause == leak_cause::unknown)
      continue;
    auto place = const_cast<entry*>(find(x.fingerprint));
    if (place == nullptr) {
      const auto set = set_of(x.fingerprint);
      auto& next = next_[set / ways];
      place = &table_[set + next];
      next = static_cast<uint8_t>((next + 1) % ways);
    }
    *place = {x.fingerprint, number, x.cause};
  }
}

void stack_book::clear() { std::fill(table_.begin(), table_.end(), entry{}); }

size_t stack_book::size() const {
  return static_cast<size_t>(std::count_if(
    table_.begin(), table_.end(), [](const entry& x) { return x.cause != leak_cause::unknown; }));
}

std::optional<stack_book::recognition> stack_book::recognise(std::string_view heap) const {
  std::array<heap_amount, causes> sums{};
  double all = 0, largest = 0;
  uint32_t report = UINT32_MAX;
  const auto read = visit_heap_profile(heap, {}, [&](const heap_stack& x, uint64_t sample_bytes) {
    const auto amount = remove_bias(x.objects, x.bytes, sample_bytes);
    const auto known = find(fingerprint(x.addresses));
    auto& sum = sums[static_cast<size_t>(known ? known->cause : leak_cause::unknown)];
    sum.bytes += amount.bytes;
    sum.objects += amount.objects;
    all += amount.bytes;
    if (known != nullptr && amount.bytes > largest) {
      largest = amount.bytes;
      report = known->report;
    }
  });
  const auto unknown = sums.back().bytes;
  if (!read || all <= 0 || unknown > all / 2)
    return std::nullopt;
  recognition found;
  found.known = 1 - unknown / all;
  for (size_t i = 0; i < sums.size(); ++i) {
    if (sums[i].bytes <= 0)
      continue;
    auto& site = found.sites.emplace_back();
    site.bytes = sums[i].bytes;
    site.objects = sums[i].objects;
    site.share = sums[i].bytes / all;
    site.cause = static_cast<leak_cause>(i);
  }
  std::stable_sort(found.sites.begin(), found.sites.end(),
                   [](const leak_site& a, const leak_site& b) { return a.bytes > b.bytes; });
  if (report >= dropped_reports_ && report - dropped_reports_ < reports_.size())
    found.report = reports_[report - dropped_reports_];
  return found;
}

} // namespace ziyu::supervision
