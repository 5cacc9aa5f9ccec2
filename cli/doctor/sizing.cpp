#include "cli/doctor/sizing.hpp"

#include "cli/view/drawing.hpp"
#include "configs/job_memory.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::cli {

namespace {

constexpr uint64_t mebibyte = 1u << 20;
constexpr uint64_t least_room = 32 * mebibyte;
constexpr double usable_share = 0.8; // breaker.tighten_at

uint64_t whole_mebibytes(double x) {
  return static_cast<uint64_t>(std::ceil(std::max(x, 1.) / mebibyte)) * mebibyte;
}

} // namespace

sizing recommend(const sizing_input& x) {
  sizing result;
  result.container = x.container;
  const auto leak_room = static_cast<uint64_t>(2 * leaking_life_jobs
                                               * std::max(x.leak_per_job, 0.));
  const auto room = std::max({least_room, x.peak / 4, leak_room});
  result.budget = whole_mebibytes(static_cast<double>(x.peak + room));
  const auto usable = static_cast<uint64_t>(usable_share * static_cast<double>(x.container));
  const auto fixed = x.fork_server + x.control;
  const auto workers = usable > fixed ? (usable - fixed) / result.budget : 0;
  const auto fitting = workers > result.standbys ? workers - result.standbys : 0;
  const auto cores = std::max(x.cores, 1u);
  result.slots = x.slots > 0 ? x.slots : static_cast<uint32_t>(std::min<uint64_t>(fitting, cores));
  const auto workers_in_all = std::max(result.slots, 1u) + result.standbys;
  result.needed = whole_mebibytes(static_cast<double>(fixed + workers_in_all * result.budget)
                                  / usable_share);
  result.fits = result.slots > 0 && result.slots <= fitting;
  // One large image at a time takes the memory that workers at their budgets leave.
  const auto planned = fixed + workers_in_all * result.budget;
  const auto left = usable > planned ? (usable - planned) / mebibyte * mebibyte : 0;
  const auto own = std::max(result.budget / 2, x.largest_job);
  const auto wanted = configs::least_hard_limit(result.budget, configs::most_pixels)
                      - result.budget;
  const auto above = std::max(own, std::min(left, wanted));
  result.hard_limit = whole_mebibytes(static_cast<double>(result.budget + above));
  result.max_pixels = configs::fitting_pixels(result.budget, result.hard_limit);

  const auto reason = room == leak_room && leak_room > 0
                        ? "2 × " + std::to_string(leaking_life_jobs)
                            + " jobs × the leak: replaced at half of the room"
                      : room == least_room ? std::string{"32 MiB at least"}
                                           : std::string{"a quarter of the peak"};
  result.formula.push_back("worker_budget_bytes = peak " + bytes_of(x.peak) + " + room "
                           + bytes_of(room) + " (" + reason + ") = " + config_bytes(result.budget));
  result.formula.push_back("worker_hard_limit_bytes = budget + "
                           + (above > own ? "room for large images, " + bytes_of(above)
                              : result.budget / 2 >= x.largest_job
                                ? std::string{"half of it"}
                                : "the largest job, " + bytes_of(x.largest_job))
                           + " = " + config_bytes(result.hard_limit));
  result.formula.push_back("max_pixels = (hard limit − budget − reserve "
                           + bytes_of(configs::job_reserve(result.budget, result.hard_limit))
                           + ") / 3 bytes = " + std::to_string(result.max_pixels)
                           + (result.max_pixels == configs::most_pixels ? ", at most" : "")
                           + ": larger images are refused, and no worker is killed for one");
  result.formula.push_back(
    "slots = ⌊(0.8 × container " + bytes_of(x.container) + " − fork server "
    + bytes_of(x.fork_server) + " − control process " + bytes_of(x.control) + ") / budget⌋ − "
    + std::to_string(result.standbys) + " standby = " + std::to_string(fitting)
    + (x.slots > 0       ? "; " + std::to_string(x.slots) + " as asked for"
       : fitting > cores ? "; " + std::to_string(cores) + ", as many as cores: a worker uses one"
                         : ""));
  return result;
}

std::string config_bytes(uint64_t x) {
  return x % mebibyte == 0 ? std::to_string(x / mebibyte) + "MiB" : std::to_string(x);
}

std::string config_lines(const sizing& x) {
  return "\"workers\": { \"slots\": " + std::to_string(std::max(x.slots, 1u))
         + ", \"standbys\": " + std::to_string(x.standbys)
         + " },\n\"memory\": { \"worker_budget_bytes\": \"" + config_bytes(x.budget)
         + "\", \"worker_hard_limit_bytes\": \"" + config_bytes(x.hard_limit)
         + "\" },\n\"jobs\": { \"max_pixels\": " + std::to_string(x.max_pixels) + " }";
}

} // namespace ziyu::cli
