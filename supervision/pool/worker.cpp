#include "supervision/pool/worker.hpp"

#include <limits>

namespace ziyu::supervision {

worker::worker(const birth& x, const leak_judge::settings& judge)
  : id_(x.id), version_(x.version), model_(x.model), server_(x.server), memory_(x.server_anonymous),
    judging_(judge), judge_(judge), chance_(x.chance) {
  // nop
}

// -- who it is --------------------------------------------------------------------------

void worker::forked(int32_t pid) {
  pid_ = pid;
  if (life_.now() == worker_life::phase::spawning)
    life_.forked();
}

void worker::ready(const wire::memory_reading& said) {
  life_.ready();
  memory_.ready(said);
}

void worker::link(uint32_t slot, uint64_t generation, const growth_history& history) {
  life_.link();
  slot_ = slot;
  generation_ = generation;
  judge_.expect_cache(history.cache_bytes());
}

void worker::serve(int64_t now_us) {
  if (!life_.is_ending())
    life_.serve();
  serving_since_us_ = now_us;
}

// -- its memory ---------------------------------------------------------------------------

void worker::after_job(const memory_report& x) {
  memory_.after_job(x);
  job_memory reading;
  static_cast<job_input&>(reading) = x.jobs.front();
  reading.others.assign(x.jobs.begin() + 1, x.jobs.end());
  reading.live = x.said.live;
  reading.private_bytes = x.private_bytes;
  reading.gpu_allocated = x.said.gpu_allocated;
  reading.gpu_reserved = x.said.gpu_reserved;
  judge_.observe(reading);
}

std::vector<events::body> worker::tell_verdict(uint64_t budget_bytes, growth_history& history) {
  std::vector<events::body> news;
  const auto& now = judge_.last();
  if (now.kind == told_)
    return news;
  const auto before = std::exchange(told_, now.kind);
  const auto was_live = is_confirmed(before) && before != growth::hoarding;
  if (was_live && !is_confirmed(now.kind)) {
    news.emplace_back(events::growth_ended{.worker = evidence(budget_bytes),
                                           .grew_for_jobs = now.ended_jobs,
                                           .ended_at_bytes = now.ended_bytes});
    history.note_end(now.ended_bytes);
  }
  if (now.kind == growth::suspected && before < now.kind)
    news.emplace_back(events::leak_suspected{evidence(budget_bytes)});
  else if (now.kind == growth::growing)
    news.emplace_back(events::growth_confirmed{evidence(budget_bytes)});
  else if (now.kind >= growth::leak)
    news.emplace_back(events::leak_confirmed{evidence(budget_bytes)});
  return news;
}

void worker::judge_anew(const growth_history& history) {
  judge_ = leak_judge{judging_};
  told_ = growth::warming_up;
  if (generation_ > 0)
    judge_.expect_cache(history.cache_bytes());
}

healing_policy::worker worker::standing() const {
  return {.verdict = judge_.last(),
          .baseline_bytes = memory_.baseline_bytes(),
          .private_bytes = memory_.private_bytes(),
          .present_bytes = memory_.present_bytes(),
          .step_bytes = memory_.step_bytes(),
          .live_grown_bytes = memory_.live_grown(),
          .gpu_grown_bytes = memory_.gpu_grown(),
          .chance = chance_,
          .trimmed = memory_.was_trimmed()};
}

cause_evidence worker::counters(uint64_t model_bytes) const {
  cause_evidence e;
  const auto& verdict = judge_.last();
  e.kind = verdict.kind;
  e.live_per_job = verdict.live.bytes_per_job;
  e.private_per_job = verdict.private_memory.bytes_per_job;
  e.live_grown = static_cast<double>(memory_.live_grown());
  e.private_grown = static_cast<double>(memory_.private_bytes())
                    - static_cast<double>(memory_.baseline_bytes());
  e.encoded_per_job = memory_.encoded_per_job();
  e.decoded_per_job = memory_.decoded_per_job();
  if (verdict.on_gpu) {
    // One slope for both: what tensors hold is reserved for them. So a leak moves both, and a cache
    // only the second.
    e.gpu_reserved_per_job = verdict.gpu.bytes_per_job;
    if (verdict.kind != growth::hoarding)
      e.gpu_allocated_per_job = verdict.gpu.bytes_per_job;
  }
  e.model_bytes = model_bytes;
  e.delta_image_correlation = memory_.delta_image_correlation();
  return e;
}

events::evidence worker::evidence(uint64_t budget_bytes) const {
  const auto& verdict = judge_.last();
  const auto slope_of = [](const leak_judge::slope& s) {
    return events::slope{s.bytes_per_job, s.lower, s.upper};
  };
  events::evidence e;
  e.slot = slot_;
  e.generation = generation_;
  e.pid = pid_;
  if (model_)
    e.model = *model_;
  e.jobs = memory_.jobs();
  e.verdict = to_string(verdict.kind);
  e.judgement = explain(verdict);
  e.odds = verdict.evidence;
  e.onset_job = verdict.onset;
  e.with_inputs = to_string(verdict.input);
  e.live_slope = slope_of(verdict.live);
  e.private_slope = slope_of(verdict.private_memory);
  e.live_bytes = memory_.live_bytes();
  e.private_bytes = memory_.private_bytes();
  e.peak_private_bytes = memory_.peak_bytes();
  e.baseline_bytes = memory_.baseline_bytes();
  e.last_delta_bytes = memory_.last_delta();
  e.budget_bytes = budget_bytes;
  if (memory_.gpu_reserved() > 0) {
    e.gpu_allocated_bytes = memory_.gpu_allocated();
    e.gpu_reserved_bytes = memory_.gpu_reserved();
    e.gpu_slope = slope_of(verdict.gpu);
  }
  if (verdict.jobs_left) {
    e.jobs_left = verdict.jobs_left;
    e.jobs_left_earliest = verdict.jobs_left_earliest;
    e.jobs_left_latest = verdict.jobs_left_latest;
  }
  for (const auto& point : memory_.recent())
    e.series.points.push_back({point.job, point.delta, point.live, point.private_bytes});
  return e;
}

// -- its replacement and its end ------------------------------------------------------------

void worker::doom(std::string reason, bool at_budget, std::string cause) {
  doomed_ = std::move(reason);
  doom_cause_ = std::move(cause);
  at_budget_ = at_budget_ || at_budget;
}

uint64_t worker::jobs_before_replacement() const {
  if (held_)
    return 0;
  // Only growth has a reason to hurry.
  const auto without_forecast = doom_cause_.empty() ? 0 : std::numeric_limits<uint64_t>::max() / 2;
  return judge_.last().jobs_left_earliest.value_or(without_forecast);
}

bool worker::let_go() { return !at_budget_ && std::exchange(held_, false); }

bool worker::end() {
  if (life_.end() == worker_life::phase::ending)
    return false;
  end_expected_ = !killed_; // each kill is followed by a death
  return true;
}

bool worker::kill(error why) {
  if (killed_)
    return false;
  killed_ = std::move(why);
  end_expected_ = false;
  return true;
}

worker_life::phase worker::close() {
  closed_ = true;
  return life_.end();
}

void worker::blame_kernel(error why) {
  oom_killed_ = true;
  killed_ = std::move(why);
}

void worker::acquit_kernel() {
  oom_killed_ = false;
  killed_.reset();
}

void worker::blame(const error& why) {
  if (!killed_)
    killed_ = why;
}

} // namespace ziyu::supervision
