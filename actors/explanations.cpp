// How the supervisor explains leaks: it has a suspect's allocations sampled, a helper process
// explain its dumps, and emits the events that the leak desk returns.

#include "actors/supervisor.hpp"

#include "base/log.hpp"

#include <caf/send.hpp>

#include <algorithm>

namespace ziyu::actors {

using supervision::leak_desk;

namespace {

/// Bounds for what a worker says: it may say anything.
constexpr uint64_t most_dump_us = 2'000'000, most_live_bytes = uint64_t{1} << 50;

} // namespace

void supervisor_state::tell_worker(const worker_entry& x, wire::frame what) {
  caf::anon_send(x.channel,
                 outgoing_frame{std::make_shared<const std::string>(wire::encode(what))});
}

void supervisor_state::watch_allocations(worker_entry& x) {
  if (!settings.explain)
    return;
  const auto now = self->clock().now();
  const auto& verdict = x.verdict();
  const auto rate = leak_desk::growth_of(verdict);
  const supervision::allocation_watch::settings how{
    .warmup_jobs = settings.judge.warmup_jobs,
    .min_effect_bytes = settings.judge.min_effect_bytes,
    .room_bytes = static_cast<double>(settings.healing.budget_bytes) * settings.healing.replace_at};
  const auto ask = x.allocations().after_job({.jobs = x.memory().jobs(),
                                              .last_delta = x.memory().last_delta(),
                                              .kind = verdict.kind,
                                              .growth_per_job = rate,
                                              .explained = desk->is_explained(x.slot(), rate, now)},
                                             how, now);
  if (ask)
    tell_worker(x, *ask);
}

bool supervisor_state::wants_dump(const worker_entry& x) const {
  return x.allocations().is_sampled() && !desk->is_under_way(x.slot(), x.generation())
         && desk->may_dump(settings.report->env().monotonic_us());
}

void supervisor_state::on_profiled(worker_entry& x, const wire::profiled& news) {
  if (news.what == wire::profile::start && x.allocations().awaits_start()) {
    // Without jemalloc nothing can be sampled; asks once, not repeatedly.
    if (news.error_message.empty())
      x.allocations().started(x.memory().jobs(), std::min(news.live, most_live_bytes));
    else
      spdlog::info("worker {} (slot {}) cannot be sampled: {}", x.id(), x.slot(),
                   news.error_message);
  } else if (news.what == wire::profile::dump && x.allocations().awaits_dump()) {
    const auto then = x.allocations().dumped();
    const auto start_us = settings.report->env().monotonic_us();
    if (news.error_message.empty())
      explain(x, news);
    else
      spdlog::warn("no heap dump of worker {} (slot {}): {}", x.id(), x.slot(), news.error_message);
    // The time of the worker and of this process together.
    const auto now_us = settings.report->env().monotonic_us();
    const auto cost_us = static_cast<int64_t>(std::min(news.duration_us, most_dump_us)) + now_us
                         - start_us;
    desk->note_dump(cost_us, now_us);
    if (x.ends_after_dump())
      end(x);
    else if (then)
      tell_worker(x, *then);
  }
}

void supervisor_state::explain(const worker_entry& x, const wire::profiled& news) {
  leak_desk::dump dump;
  dump.worker = evidence_of(x);
  dump.growth_per_job = leak_desk::growth_of(x.verdict());
  dump.random = static_cast<uint32_t>(settings.report->env().random());
  dump.request.evidence = counters_of(x);
  dump.request.after = news.heap;
  dump.request.maps = news.maps;
  dump.request.live_growth = static_cast<int64_t>(std::min(news.live, most_live_bytes))
                             - static_cast<int64_t>(x.allocations().live_at_start());
  dump.request.jobs = news.jobs;
  dump.request.sampled_jobs = news.sampled_jobs;
  desk->take(std::move(dump), self->clock().now(), settings.report->env().monotonic_us());
  follow_explanations();
}

void supervisor_state::follow_explanations() {
  while (!desk->idle()) {
    emit(desk->finish_recognised());
    if (const auto* request = desk->to_hand_over()) {
      const auto started = settings.host->explain(*request);
      if (!started) {
        finish_explanation(tl::unexpected(started.error()));
        continue;
      }
      desk->handed_over(*started);
    }
    const auto number = desk->at_work();
    if (!number)
      return;
    if (const auto report = settings.host->explained(*number)) {
      finish_explanation(*report);
    } else if (desk->is_late(self->clock().now())) {
      settings.host->stop_explaining(*number);
      finish_explanation(fail(errc::timeout, "the helper did not answer"));
    } else {
      return;
    }
  }
}

void supervisor_state::give_up_explanations() {
  while (!desk->idle()) {
    if (const auto number = desk->at_work())
      settings.host->stop_explaining(*number);
    finish_explanation(fail(errc::stopping, "the service stops"));
  }
}

void supervisor_state::finish_explanation(const expected<supervision::leak_report>& found) {
  if (!found)
    spdlog::warn("the leak of slot {} stays unexplained: {}", desk->slot_in_front(),
                 found.error().describe());
  emit(desk->finish(found, self->clock().now(), settings.report->env().monotonic_us()));
}

void supervisor_state::emit(std::vector<events::body> news) {
  for (auto& x : news) {
    if (const auto* replaced = std::get_if<events::worker_replaced>(&x))
      settings.report->stats().replacements.Add({{"cause", replaced->cause}}).Increment();
    settings.report->emit(std::move(x));
  }
}

} // namespace ziyu::actors
