#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ziyu::supervision {

/// How far the container's memory is used up, in steps. Each step reduces the credit for jobs
/// further, long before the breaker stops intake.
///
/// A step is entered at its mark and left only `margin` below it, one step at a reading.
/// So memory that swings around a mark does not make the credit swing. Pure. Not
/// thread-safe.
class memory_pressure {
public:
  enum class level : uint8_t {
    none,     ///< All credit.
    eased,    ///< Half of it.
    tight,    ///< An eighth of it.
    critical, ///< Also an eighth; the breaker opens.
  };

  struct settings {
    double ease_at = 0.60, tighten_at = 0.80, open_at = 0.95; ///< Shares of the limit.
    double margin = 0.05;
  };

  struct transition {
    level from, to;
    double share;       ///< The reading.
    std::string reason; ///< With the numbers.
  };

  explicit memory_pressure(settings x) : settings_(x) {}

  /// Takes a reading: memory used as a share of the container's limit.
  std::optional<transition> read(double share);

  level current() const { return level_; }

  /// The share of the configured credit that is granted at present: 1, 1/2 or 1/8.
  double credit_share() const;

private:
  double mark_of(level x) const;

  settings settings_;
  level level_ = level::none;
};

std::string_view to_string(memory_pressure::level x) noexcept;

} // namespace ziyu::supervision
