#pragma once

#include "supervision/leak_judge.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>

namespace ziyu::bench {

/// What the charts of `docs/leak-judgement.md` show, which `bench/lib/charts.py` draws. "kinds":
/// one trace of each kind with the moment of its verdict. "delays": the median delay of the judge
/// and of other rules by size of leak; null where fewer than half are found. The same seed makes
/// the same values.
nlohmann::json chart_series(uint64_t seed, uint64_t budget,
                            const supervision::leak_judge::settings& settings);

} // namespace ziyu::bench
