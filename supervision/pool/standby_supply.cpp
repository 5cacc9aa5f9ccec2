#include "supervision/pool/standby_supply.hpp"

#include <algorithm>

namespace ziyu::supervision {

uint32_t standby_supply::missing(uint64_t version, const std::vector<demand>& slots,
                                 const std::vector<candidate>& workers) const {
  const auto coming = std::count_if(workers.begin(), workers.end(),
                                    [&](const candidate& x) { return x.version == version; });
  const auto empty = std::count_if(slots.begin(), slots.end(), [&](const demand& x) {
    return x.version == version && x.is_empty;
  });
  const auto wanted = empty + standbys_;
  return coming < wanted ? static_cast<uint32_t>(wanted - coming) : 0;
}

std::vector<std::pair<uint32_t, uint64_t>> standby_supply::assign(
  std::vector<demand> slots, const std::vector<candidate>& workers) {
  std::erase_if(slots, [](const demand& x) { return !x.jobs_left; });
  std::sort(slots.begin(), slots.end(), [](const demand& a, const demand& b) {
    return std::pair{*a.jobs_left, a.slot} < std::pair{*b.jobs_left, b.slot};
  });
  std::vector<std::pair<uint32_t, uint64_t>> plan;
  const auto is_taken = [&plan](uint64_t worker) {
    return std::any_of(plan.begin(), plan.end(),
                       [worker](const auto& x) { return x.second == worker; });
  };
  for (const auto& where : slots) {
    const auto found = std::find_if(workers.begin(), workers.end(), [&](const candidate& x) {
      return x.is_ready && x.version == where.version && !is_taken(x.worker);
    });
    if (found != workers.end())
      plan.emplace_back(where.slot, found->worker);
  }
  return plan;
}

} // namespace ziyu::supervision
