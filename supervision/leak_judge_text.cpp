// The judge's verdicts in words.

#include "base/bytes.hpp"
#include "supervision/leak_judge.hpp"

#include <cstdio>

namespace ziyu::supervision {

namespace {

std::string amount(double bytes) { return format_bytes(static_cast<int64_t>(bytes)); }

std::string with_bounds(const slope& x) {
  return amount(x.bytes_per_job) + " per job (" + amount(x.lower) + " to " + amount(x.upper) + ")";
}

} // namespace

std::string_view to_string(growth x) noexcept {
  switch (x) {
  case growth::warming_up: return "warming_up";
  case growth::healthy: return "healthy";
  case growth::caching: return "caching";
  case growth::suspected: return "suspected";
  case growth::growing: return "growing";
  case growth::leak: return "leak";
  case growth::hoarding: return "hoarding";
  case growth::mixed: return "mixed";
  }
  return "unknown";
}

std::string_view to_string(leak_input x) noexcept {
  switch (x) {
  case leak_input::any: return "any";
  case leak_input::some: return "some";
  case leak_input::bad: return "bad";
  case leak_input::large: return "large";
  case leak_input::small: return "small";
  case leak_input::new_kinds: return "new_kinds";
  }
  return "unknown";
}

std::string explain(const leak_judge::verdict& x) {
  const auto text = [](auto number) { return std::to_string(number); };
  const auto since = [&] {
    char odds[32];
    std::snprintf(odds, sizeof odds, "%.1e", x.evidence);
    return " since job " + text(x.onset) + ", " + text(x.growing_jobs) + " events, evidence " + odds
           + ":1";
  };
  switch (x.kind) {
  case growth::warming_up: return "warming up: " + text(x.jobs) + " jobs so far";
  case growth::healthy:
    return "flat for " + text(x.plateau_jobs) + " jobs"
           + (x.ended_jobs > 0
                ? ", after growth over " + text(x.ended_jobs) + " jobs that ended at "
                    + amount(static_cast<double>(x.ended_bytes))
                : "");
  case growth::caching:
    return "grew by " + amount(static_cast<double>(x.cached_bytes))
           + " with inputs of new kinds only: " + text(x.kinds) + " kinds seen, about "
           + text(static_cast<uint64_t>(x.kinds_expected)) + " expected";
  case growth::suspected:
    return "may grow: " + amount(static_cast<double>(x.grown_bytes)) + since();
  case growth::hoarding:
    return std::string{x.on_gpu ? "the GPU's cache" : "private memory"} + " grows by "
           + with_bounds(x.on_gpu ? x.gpu : x.private_memory) + " while live bytes do not,"
           + since();
  case growth::growing:
  case growth::leak:
  case growth::mixed: {
    std::string with;
    switch (x.input) {
    case leak_input::any: break;
    case leak_input::some: with = ", with some inputs"; break;
    case leak_input::bad: with = ", only with bad inputs"; break;
    case leak_input::large: with = ", only with large images"; break;
    case leak_input::small: with = ", only with small images"; break;
    case leak_input::new_kinds: with = ", with each new size of image, without a bound"; break;
    }
    const auto gpu = x.on_gpu && x.live.bytes_per_job <= 0;
    std::string line = gpu ? "GPU memory grow by " : "live bytes grow by ";
    line += with_bounds(gpu ? x.gpu : x.live) + with + since();
    if (x.kind == growth::growing)
      line += "; a leak, or a cache that is not full yet";
    if (x.kind == growth::mixed)
      line += "; beyond that private memory grows, " + with_bounds(x.private_memory) + " in all";
    return line;
  }
  }
  return "unknown";
}

} // namespace ziyu::supervision
