#pragma once

#include "supervision/leak_judge.hpp"

#include <cstdint>
#include <filesystem>

namespace ziyu::bench {

/// Writes the charts of `docs/leak-judgement.md` into `folder`, which must exist:
/// `judge_kinds.svg`, one trace of each kind with the moment of its verdict, and
/// `judge_delay.svg`, the median delay of the judge and of other rules by size of leak.
/// The same seed makes the same bytes. Returns false when a file cannot be written.
bool write_charts(const std::filesystem::path& folder, uint64_t seed, uint64_t budget,
                  const supervision::leak_judge::settings& settings);

} // namespace ziyu::bench
