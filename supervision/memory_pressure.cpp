#include "supervision/memory_pressure.hpp"

#include <cstdio>
#include <utility>

namespace ziyu::supervision {

using level = memory_pressure::level;

std::string_view to_string(level x) noexcept {
  switch (x) {
  case level::none: return "none";
  case level::eased: return "eased";
  case level::tight: return "tight";
  case level::critical: return "critical";
  }
  return "unknown";
}

double memory_pressure::mark_of(level x) const {
  switch (x) {
  case level::none: return 0;
  case level::eased: return settings_.ease_at;
  case level::tight: return settings_.tighten_at;
  case level::critical: return settings_.open_at;
  }
  return 0;
}

std::optional<memory_pressure::transition> memory_pressure::read(double share) {
  auto next = level::none;
  for (auto x : {level::eased, level::tight, level::critical})
    if (share >= mark_of(x))
      next = x;
  if (next == level_)
    return std::nullopt;
  if (next < level_) {
    if (share >= mark_of(level_) - settings_.margin)
      return std::nullopt;
    next = static_cast<level>(static_cast<uint8_t>(level_) - 1);
  }
  const auto from = std::exchange(level_, next);
  const auto up = next > from;
  char text[160];
  std::snprintf(text, sizeof text, "container memory at %.1f %%, %s %.0f %%; %.4g of the credit",
                share * 100, up ? "at or above the mark of" : "below the mark of",
                (up ? mark_of(next) : mark_of(from) - settings_.margin) * 100, credit_share());
  return transition{from, next, share, text};
}

double memory_pressure::credit_share() const {
  switch (level_) {
  case level::none: return 1;
  case level::eased: return 0.5;
  case level::tight:
  case level::critical: return 0.125;
  }
  return 1;
}

} // namespace ziyu::supervision
