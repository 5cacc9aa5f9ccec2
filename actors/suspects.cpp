// The dispatcher's suspects: a worker's death may be the fault of its job or its own. The next
// attempt, on another worker and beside no other suspect, tells which.

#include "actors/dispatcher.hpp"
#include "base/bytes.hpp"

#include <algorithm>

namespace ziyu::actors {

namespace {

std::string describe(const job_entry::death& x) {
  auto text = "slot " + std::to_string(x.slot) + ", generation " + std::to_string(x.generation)
              + ": " + std::string{to_string(x.code)} + " after " + std::to_string(x.ms) + " ms";
  if (x.private_bytes > 0)
    text += " at " + format_bytes(static_cast<int64_t>(x.private_bytes));
  return text;
}

} // namespace

void dispatcher_state::suspect(job_entry& x, const job_outcome& outcome) {
  const auto& attempt = outcome.attempt;
  if (attempt.generation == 0)
    return; // no worker is known to have ended
  job_entry::death death;
  death.slot = attempt.slot;
  death.generation = attempt.generation;
  death.code = attempt.failure->code;
  death.ms = static_cast<uint64_t>(
    std::max<int64_t>(settings.report->env().monotonic_us() - x.started_us, 0) / 1000);
  death.private_bytes = attempt.private_bytes;
  death.alone = outcome.batch == 1;
  death.accused = outcome.accused;
  x.deaths.push_back(std::move(death));
  if (outcome.is_first)
    self->send(neighbours.supervisor, death_verdict{attempt.slot, attempt.generation, true});
}

/// A death is the service's when none of the jobs that ran in the worker is at fault.
void dispatcher_state::clear(job_entry& x) {
  for (const auto& death : x.deaths)
    if (--*death.accused == 0)
      self->send(neighbours.supervisor, death_verdict{death.slot, death.generation, false});
  x.deaths.clear();
}

std::string dispatcher_state::why_given_up(const job_entry& x, const error& last) const {
  auto text = std::to_string(x.attempts) + " attempts failed, the last with " + last.describe();
  std::vector<std::string> deaths;
  for (const auto& death : x.deaths)
    if (death.alone)
      deaths.push_back(describe(death));
  if (deaths.size() < 2)
    return text; // a single death may have been its worker's fault
  text += "; the image is the cause: it ended " + std::to_string(deaths.size()) + " workers (";
  for (size_t i = 0; i < deaths.size(); ++i)
    text += (i > 0 ? "; " : "") + deaths[i];
  return text + ")";
}

} // namespace ziyu::actors
