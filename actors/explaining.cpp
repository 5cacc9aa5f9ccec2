// The supervisor's wish to know why: samples a suspect's allocations, has them explained
// by a helper process, and reports the leak with its call stacks.
//
// A suspect is sampled from the first growth that warm-up does not excuse. Once enough is
// sampled, or when another worker has taken over its slot, its samples are dumped, and a
// helper names the call stacks. Replacements of the slot wait (for a bounded time) for the
// cause; later ones that grow alike are named by the same report.

#include "actors/supervisor.hpp"

#include "base/log.hpp"

#include <caf/send.hpp>

#include <algorithm>
#include <cstdio>

namespace ziyu::actors {

using namespace std::chrono_literals;
using supervision::growth;
using sampling = worker_entry::sampling_phase;

namespace {

/// Sampled jobs of a confirmed leak after which it is explained although its worker may
/// serve for long.
constexpr uint64_t enough_jobs = 48;

/// Jobs without growth after which a suspect is sampled no more.
constexpr uint64_t quiet_jobs = 128;

/// Between two explanations of one slot, however different its leaks.
constexpr auto least_pause = 5s;

/// A dump takes milliseconds, of which a busy machine makes more.
constexpr auto dump_limit = 2s;

/// For the helper, which takes a second for libtorch with an idle core.
constexpr auto explain_limit = 30s;

/// Events that wait for one explanation.
constexpr size_t max_waiting = 64;

/// Flame graphs beyond this are cut at a line: an event must fit into its topic.
constexpr size_t max_flame_bytes = 64 * 1024;

/// Of a site's stack, in events.
constexpr size_t sites_in_event = 3;

/// The same leak? Its growth per job tells, roughly.
bool alike(double a, double b) { return a > 0 && b > 0 && a < 2 * b && b < 2 * a; }

double growth_per_job(const worker_entry& x) {
  const auto& v = x.judge->last();
  return std::max(v.live.bytes_per_job,
                  v.kind == growth::hoarding ? v.private_memory.bytes_per_job : 0.);
}

std::string cut_at_line(std::string text, size_t limit) {
  if (text.size() > limit)
    text.resize(text.rfind('\n', limit) + 1);
  return text;
}

/// What a replacement's event says of the sites; the report has all.
nlohmann::json short_sites(const supervision::leak_report& x) {
  auto list = nlohmann::json::array();
  for (const auto& site : x.sites) {
    if (list.size() == sites_in_event)
      break;
    const auto& by = site.responsible();
    list.push_back({{"bytes", site.bytes},
                    {"share", site.share},
                    {"function", by.function},
                    {"library", by.library},
                    {"file", by.file},
                    {"line", by.line}});
  }
  return list;
}

} // namespace

void supervisor_state::tell_worker(const worker_entry& x, wire::frame what) {
  caf::anon_send(x.channel,
                 outgoing_frame{std::make_shared<const std::string>(wire::encode(what))});
}

void supervisor_state::watch_allocations(worker_entry& x) {
  if (!settings.explain)
    return;
  const auto& verdict = x.judge->last();
  const auto grows = verdict.kind == growth::suspected || verdict.kind == growth::leak
                     || verdict.kind == growth::mixed;
  switch (x.sampled) {
  case sampling::off: {
    const auto grew = x.jobs > settings.judge.warmup_jobs
                      && x.last_delta >= static_cast<int64_t>(settings.judge.min_effect_bytes);
    if ((!grows && !grew) || is_explained(x) || explanation_of(x.slot) != nullptr)
      return;
    const auto per_job = std::max(growth_per_job(x), static_cast<double>(x.last_delta));
    const auto room = static_cast<double>(settings.healing.budget_bytes)
                      * settings.healing.replace_at;
    const auto jobs = std::clamp(room / std::max(per_job, 1.), 2.,
                                 static_cast<double>(enough_jobs));
    x.sampled = sampling::asked;
    tell_worker(x, wire::profile{wire::profile::start, supervision::choose_sample_rate(
                                                         per_job, static_cast<uint64_t>(jobs))});
    return;
  }
  case sampling::on:
    if (supervision::is_confirmed(verdict.kind) && x.jobs - x.sampled_from >= enough_jobs)
      ask_for_dump(x);
    else if (!grows && x.jobs - x.sampled_from >= quiet_jobs) {
      x.sampled = sampling::off;
      tell_worker(x, wire::profile{wire::profile::stop});
    }
    return;
  case sampling::asked:
  case sampling::dumping: return;
  }
}

bool supervisor_state::is_explained(const worker_entry& x) const {
  const auto i = known_leaks.find(x.slot);
  if (i == known_leaks.end())
    return false;
  const auto age = self->clock().now() - i->second.when;
  const auto rate = growth_per_job(x);
  return age < least_pause
         || (age < settings.explain_interval
             && (rate == 0 || alike(i->second.bytes_per_job, rate)));
}

void supervisor_state::ask_for_dump(worker_entry& x) {
  x.sampled = sampling::dumping;
  x.dump_by = self->clock().now() + dump_limit;
  tell_worker(x, wire::profile{wire::profile::dump});
}

bool supervisor_state::wants_dump(const worker_entry& x) {
  return x.sampled == sampling::on && supervision::is_confirmed(x.judge->last().kind)
         && explanation_of(x.slot) == nullptr;
}

void supervisor_state::on_profiled(worker_entry& x, const wire::profiled& news) {
  if (news.what == wire::profile::start && x.sampled == sampling::asked) {
    // Without jemalloc there is nothing to sample; asked once, not again and again.
    if (news.error_message.empty()) {
      x.sampled = sampling::on;
      x.sampled_from = x.jobs;
      x.sampled_from_live = news.live;
    } else {
      spdlog::info("worker {} (slot {}) cannot be sampled: {}", x.id, x.slot, news.error_message);
    }
  } else if (news.what == wire::profile::dump && x.sampled == sampling::dumping) {
    x.sampled = sampling::off;
    if (news.error_message.empty())
      begin_explanation(x, news);
    else
      spdlog::warn("no heap dump of worker {} (slot {}): {}", x.id, x.slot, news.error_message);
    if (x.end_after_dump)
      end(x);
    else
      tell_worker(x, wire::profile{wire::profile::stop});
  }
}

void supervisor_state::begin_explanation(const worker_entry& x, const wire::profiled& news) {
  char random[16];
  std::snprintf(random, sizeof random, "%08x",
                static_cast<unsigned>(settings.report->env().random() & 0xffff'ffff));
  explanation e;
  e.slot = x.slot;
  e.report = std::to_string(x.slot) + "." + std::to_string(x.generation) + "-" + random;
  e.bytes_per_job = growth_per_job(x);
  e.request.after = news.heap;
  e.request.maps = news.maps;
  e.request.live_growth = static_cast<int64_t>(news.live)
                          - static_cast<int64_t>(x.sampled_from_live);
  e.request.jobs = news.jobs;
  e.request.sampled_jobs = news.sampled_jobs;
  e.request.evidence = counters_of(x);
  e.detail = evidence_of(x);
  e.detail["reason"] = supervision::explain(x.judge->last());
  e.give_up_at = self->clock().now() + explain_limit;
  e.asked_us = settings.report->env().monotonic_us();
  explanations.push_back(std::move(e));
  follow_explanations();
}

supervisor_state::explanation* supervisor_state::explanation_of(uint32_t index) {
  const auto i = std::find_if(explanations.begin(), explanations.end(),
                              [index](const explanation& e) { return e.slot == index; });
  return i == explanations.end() ? nullptr : &*i;
}

void supervisor_state::follow_explanations() {
  while (!explanations.empty()) {
    auto& e = explanations.front(); // one at a time: a helper takes a core
    if (!e.number) {
      auto started = settings.host->explain(e.request);
      if (!started) {
        finish_explanation(tl::unexpected(started.error()));
        continue;
      }
      e.number = *started;
      e.request = {}; // megabytes
    }
    if (auto report = settings.host->explained(*e.number)) {
      finish_explanation(std::move(*report));
    } else if (self->clock().now() >= e.give_up_at) {
      settings.host->stop_explaining(*e.number);
      finish_explanation(fail(errc::timeout, "the helper did not answer"));
    } else {
      return;
    }
  }
}

void supervisor_state::finish_explanation(expected<supervision::leak_report> found) {
  auto e = std::move(explanations.front());
  explanations.pop_front();
  if (found) {
    known_leak known;
    known.report = e.report;
    known.cause = std::string{to_string(found->cause)};
    known.bytes_per_job = e.bytes_per_job;
    known.when = self->clock().now();
    known.sites = short_sites(*found);
    known_leaks[e.slot] = std::move(known);
    publish_report(e, *found);
  } else {
    spdlog::warn("the leak of slot {} stays unexplained: {}", e.slot, found.error().describe());
  }
  for (auto& detail : e.waiting)
    publish_replacement(e.slot, std::move(detail));
}

void supervisor_state::publish_report(const explanation& e, const supervision::leak_report& x) {
  auto detail = e.detail;
  detail["report"] = e.report;
  detail["cause"] = to_string(x.cause);
  auto slope = detail["live_slope"];
  slope["bytes"] = x.growth_bytes;
  slope["jobs"] = x.jobs;
  detail["growth"] = std::move(slope);
  if (detail.contains("jobs_left"))
    detail["forecast"] = {{"jobs_left", detail["jobs_left"]},
                          {"earliest", detail["jobs_left_earliest"]},
                          {"latest", detail["jobs_left_latest"]}};
  detail["sampling"] = {{"sample_bytes", x.sample_bytes},
                        {"estimated_bytes", x.estimated_bytes},
                        {"calibrated", x.calibrated}};
  detail["sites"] = supervision::to_json(x)["sites"];
  detail["flame"] = cut_at_line(x.flame, max_flame_bytes);
  detail["explain_ms"] = static_cast<double>(settings.report->env().monotonic_us() - e.asked_us)
                         / 1000;
  settings.report->emit(spdlog::level::warn, "leak_report", std::move(detail));
}

void supervisor_state::report_replacement(uint32_t index, nlohmann::json detail) {
  auto e = explanation_of(index);
  if (e != nullptr && e->waiting.size() < max_waiting)
    e->waiting.push_back(std::move(detail));
  else
    publish_replacement(index, std::move(detail));
}

void supervisor_state::publish_replacement(uint32_t index, nlohmann::json detail) {
  const auto i = known_leaks.find(index);
  const auto slope = detail.at("verdict") == to_string(growth::hoarding) ? "private_slope"
                                                                         : "live_slope";
  const auto rate = detail.at(slope).at("bytes_per_job").get<double>();
  // Not a crash or the like: those are no matter of memory.
  const auto of_memory = supervision::parse_leak_cause(detail.at("cause").get<std::string>());
  if (of_memory && i != known_leaks.end() && alike(i->second.bytes_per_job, rate)) {
    detail["cause"] = i->second.cause;
    detail["report"] = i->second.report;
    detail["sites"] = i->second.sites;
  }
  settings.report->stats()
    .replacements.Add({{"cause", detail.at("cause").get<std::string>()}})
    .Increment();
  settings.report->emit(spdlog::level::warn, "worker_replaced", std::move(detail));
}

} // namespace ziyu::actors
