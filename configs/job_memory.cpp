#include "configs/job_memory.hpp"

#include <algorithm>

namespace ziyu::configs {

namespace {

constexpr uint64_t mebibyte = 1u << 20;
constexpr uint64_t most_reserve = 16 * mebibyte;

} // namespace

uint64_t job_reserve(uint64_t budget, uint64_t hard_limit) {
  return std::min(most_reserve, (hard_limit - std::min(budget, hard_limit)) / 8);
}

uint64_t job_room(uint64_t budget, uint64_t hard_limit) {
  return hard_limit - std::min(budget, hard_limit) - job_reserve(budget, hard_limit);
}

uint64_t fitting_pixels(uint64_t budget, uint64_t hard_limit) {
  return std::clamp<uint64_t>(job_room(budget, hard_limit) / bytes_per_pixel, 1, most_pixels);
}

uint64_t least_hard_limit(uint64_t budget, uint64_t pixels) {
  const auto room = bytes_per_pixel * pixels;
  // The reserve is an eighth of the difference, so that the room is seven eighths of it.
  const auto whole = std::min(room + most_reserve, (room * 8 + 6) / 7 + 7);
  return (budget + whole + mebibyte - 1) / mebibyte * mebibyte;
}

} // namespace ziyu::configs
