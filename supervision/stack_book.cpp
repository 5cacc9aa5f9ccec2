#include "supervision/stack_book.hpp"

#include <algorithm>
#include <array>

namespace ziyu::supervision {

namespace {

/// Reports whose names are kept; a stack of an older one is known by its cause alone.
constexpr size_t max_reports = 256;

} // namespace

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
    const auto [i, added] = known_.insert_or_assign(x.fingerprint, entry{x.cause, number});
    if (!added)
      continue;
    order_.push_back(x.fingerprint);
    if (order_.size() > capacity_) {
      known_.erase(order_.front());
      order_.pop_front();
    }
  }
}

void stack_book::clear() {
  known_.clear();
  order_.clear();
}

std::optional<stack_book::recognition> stack_book::recognise(
  const std::vector<stack_growth>& growth) const {
  std::array<double, static_cast<size_t>(leak_cause::unknown) + 1> bytes{};
  double all = 0, largest = 0;
  uint32_t report = 0;
  for (const auto& x : growth) {
    if (x.bytes <= 0)
      continue;
    all += x.bytes;
    const auto i = known_.find(fingerprint(x.addresses));
    bytes[static_cast<size_t>(i == known_.end() ? leak_cause::unknown : i->second.cause)] +=
      x.bytes;
    if (i != known_.end() && x.bytes > largest) {
      largest = x.bytes;
      report = i->second.report;
    }
  }
  recognition found;
  const auto unknown = bytes[static_cast<size_t>(leak_cause::unknown)];
  if (all <= 0 || unknown > all / 2)
    return std::nullopt;
  found.known = 1 - unknown / all;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] <= 0)
      continue;
    auto& site = found.sites.emplace_back();
    site.bytes = bytes[i];
    site.share = bytes[i] / all;
    site.cause = static_cast<leak_cause>(i);
  }
  std::stable_sort(found.sites.begin(), found.sites.end(),
                   [](const leak_site& a, const leak_site& b) { return a.bytes > b.bytes; });
  if (report >= dropped_reports_ && report - dropped_reports_ < reports_.size())
    found.report = reports_[report - dropped_reports_];
  return found;
}

} // namespace ziyu::supervision
