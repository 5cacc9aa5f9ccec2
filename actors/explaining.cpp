// How the supervisor explains leaks: it samples a suspect's allocations, has a helper process
// explain them, and reports the leak with its call stacks.
//
// A suspect is sampled from the first growth that warm-up does not excuse. Its samples are dumped
// when they are enough, and when another worker has taken over its slot. Stacks that were named
// before are recognised at once. For others a helper process names them, and the replacement's
// event waits (for a bounded time) for the cause.

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

/// Number of sampled jobs after which a confirmed leak is explained even if its worker will serve
/// for long.
constexpr uint64_t enough_jobs = 48;

/// Number of jobs without growth after which a suspect is not sampled any more.
constexpr uint64_t quiet_jobs = 128;

/// Least time between two explanations of one slot, even if its leaks differ.
constexpr auto least_pause = 5s;

/// Number of sampled jobs after which a worker is not sampled any more: a slow leak must not cost
/// time for as long as it lasts.
constexpr uint64_t most_jobs = 2'000;

/// The pause before the next dump, as a multiple of the time that the last dump and its evaluation
/// took. So a worker that is replaced every few jobs is not dumped each time.
constexpr int64_t dump_pauses = 20;

/// Only the helper reads a larger dump; most have tens of KB.
constexpr size_t max_recognised_bytes = 1u << 20;

/// Bound for explanations that wait for the helper, each with a dump.
constexpr size_t max_explanations = 8;

/// Bound for reports that later replacements can refer to.
constexpr size_t max_reports = 64;

/// A dump takes milliseconds; a busy machine needs longer.
constexpr auto dump_limit = 2s;

/// Time for the helper, which takes a second for libtorch with an idle core.
constexpr auto explain_limit = 30s;

/// Bound for events that wait for one explanation.
constexpr size_t max_waiting = 64;

/// Longer flame graphs are cut at a line: an event must fit into its topic.
constexpr size_t max_flame_bytes = 64 * 1024;

/// Bound for the sites in an event.
constexpr size_t sites_in_event = 3;

/// Whether two growths per job are about equal, so that it is likely the same leak.
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

/// The sites in a replacement's event; the report has all of them.
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
  const auto grows = verdict.kind >= growth::suspected && verdict.kind != growth::hoarding;
  switch (x.sampled) {
  case sampling::off: {
    const auto grew = x.jobs > settings.judge.warmup_jobs
                      && x.last_delta >= static_cast<int64_t>(settings.judge.min_effect_bytes);
    if (x.sampled_enough || (!grows && !grew))
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
  case sampling::on: {
    const auto sampled_jobs = x.jobs - x.sampled_from;
    // A growing cache is reported only if its worker is replaced for it.
    const auto confirmed = verdict.kind >= growth::leak;
    if (confirmed && sampled_jobs >= enough_jobs && !x.dumped && !is_explained(x)) {
      x.dumped = true;
      ask_for_dump(x);
    } else if (sampled_jobs >= most_jobs) {
      // Later samples would show the same and only cost time.
      x.sampled_enough = true;
      if (confirmed)
        ask_for_dump(x);
      else
        stop_sampling(x);
    } else if (!grows && sampled_jobs >= quiet_jobs) {
      stop_sampling(x);
    }
    return;
  }
  case sampling::asked:
  case sampling::dumping: return;
  }
}

void supervisor_state::stop_sampling(worker_entry& x) {
  x.sampled = sampling::off;
  tell_worker(x, wire::profile{wire::profile::stop});
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
  return x.sampled == sampling::on && explanation_of(x.slot, x.generation) == nullptr
         && settings.report->env().monotonic_us() >= next_dump_us;
}

void supervisor_state::on_profiled(worker_entry& x, const wire::profiled& news) {
  if (news.what == wire::profile::start && x.sampled == sampling::asked) {
    // Without jemalloc nothing can be sampled; asks once, not repeatedly.
    if (news.error_message.empty()) {
      x.sampled = sampling::on;
      x.sampled_from = x.jobs;
      x.sampled_from_live = news.live;
    } else {
      spdlog::info("worker {} (slot {}) cannot be sampled: {}", x.id, x.slot, news.error_message);
    }
  } else if (news.what == wire::profile::dump && x.sampled == sampling::dumping) {
    x.sampled = sampling::on;
    const auto start_us = settings.report->env().monotonic_us();
    if (news.error_message.empty())
      begin_explanation(x, news);
    else
      spdlog::warn("no heap dump of worker {} (slot {}): {}", x.id, x.slot, news.error_message);
    // The time of the worker and of this process together.
    const auto now_us = settings.report->env().monotonic_us();
    next_dump_us = now_us
                   + dump_pauses * (static_cast<int64_t>(news.duration_us) + now_us - start_us);
    if (x.end_after_dump)
      end(x);
    else if (x.sampled_enough)
      stop_sampling(x);
  }
}

void supervisor_state::begin_explanation(const worker_entry& x, const wire::profiled& news) {
  char random[16];
  std::snprintf(random, sizeof random, "%08x",
                static_cast<unsigned>(settings.report->env().random() & 0xffff'ffff));
  explanation e;
  e.slot = x.slot;
  e.generation = x.generation;
  e.report = std::to_string(x.slot) + "." + std::to_string(x.generation) + "-" + random;
  e.bytes_per_job = growth_per_job(x);
  e.request.evidence = counters_of(x);
  e.request.after = news.heap;
  const auto now = self->clock().now();
  const auto known = known_leaks.find(x.slot);
  const auto age = known == known_leaks.end() ? least_pause + settings.explain_interval
                                              : now - known->second.when;
  if (auto known_as = recognise(e)) {
    // Its cause is known at once; a report would only add its numbers.
    const auto fresh = known != known_leaks.end() && known_as->cause == known->second.name.cause
                       && age < settings.explain_interval;
    names[x.slot] = std::move(*known_as);
    if (fresh || age < least_pause)
      return;
    e.recognised = true;
  } else if (news.heap.starts_with("heap_v2/")) {
    names[x.slot] = leak_name{x.generation, {}, {}, {}, 0}; // none of the known ones
  } else if (is_explained(x)) {
    return;
  }
  if (explanations.size() >= max_explanations || !helpers->admit(now))
    return;
  e.request.maps = news.maps;
  e.request.live_growth = static_cast<int64_t>(news.live)
                          - static_cast<int64_t>(x.sampled_from_live);
  e.request.jobs = news.jobs;
  e.request.sampled_jobs = news.sampled_jobs;
  e.detail = evidence_of(x);
  e.detail["reason"] = supervision::explain(x.judge->last());
  e.give_up_at = now + explain_limit;
  e.asked_us = settings.report->env().monotonic_us();
  explanations.push_back(std::move(e));
  follow_explanations();
}

std::optional<supervisor_state::leak_name> supervisor_state::recognise(const explanation& e) const {
  if (e.request.after.size() > max_recognised_bytes)
    return std::nullopt;
  const auto found = stacks.recognise(e.request.after);
  if (!found)
    return std::nullopt;
  const auto cause = supervision::name_cause(e.request.evidence, found->sites);
  if (cause == supervision::leak_cause::unknown)
    return std::nullopt;
  leak_name known_as{e.generation, std::string{to_string(cause)}, {}, {}, e.bytes_per_job};
  // The report is of this leak only if both give it the same name.
  if (auto i = reports.find(found->report);
      i != reports.end() && i->second.cause == known_as.cause) {
    known_as.report = i->second.report;
    known_as.sites = i->second.sites;
  }
  return known_as;
}

supervisor_state::explanation* supervisor_state::explanation_of(uint32_t index,
                                                                uint64_t generation) {
  const auto i = std::find_if(explanations.begin(), explanations.end(), [&](const explanation& e) {
    return e.slot == index && e.generation == generation;
  });
  return i == explanations.end() ? nullptr : &*i;
}

void supervisor_state::follow_explanations() {
  while (!explanations.empty()) {
    auto& e = explanations.front(); // one at a time: a helper takes a core
    if (!e.number) {
      // An earlier explanation may have named its stacks. A report that the slot itself wants is
      // still made.
      if (auto known_as = recognise(e); known_as && !e.recognised && known_leaks.contains(e.slot)) {
        finish_recognised(std::move(*known_as));
        continue;
      }
      auto started = settings.host->explain(e.request);
      if (!started) {
        finish_explanation(tl::unexpected(started.error()));
        continue;
      }
      e.number = *started;
      e.request = {}; // frees megabytes
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
  std::optional<leak_name> known_as;
  if (found) {
    stacks.learn(found->stacks, e.report);
    known_as = leak_name{e.generation, std::string{to_string(found->cause)}, e.report,
                         short_sites(*found), e.bytes_per_job};
    reports[e.report] = *known_as;
    report_order.push_back(e.report);
    if (report_order.size() > max_reports) {
      reports.erase(report_order.front());
      report_order.pop_front();
    }
    known_leaks[e.slot] = {*known_as, e.bytes_per_job, self->clock().now()};
    if (auto i = names.find(e.slot); i == names.end() || i->second.generation <= e.generation)
      names[e.slot] = *known_as;
    publish_report(e, *found);
  } else {
    spdlog::warn("the leak of slot {} stays unexplained: {}", e.slot, found.error().describe());
  }
  for (auto& detail : e.waiting) {
    const auto by = known_as ? *known_as : name_of(e.slot, e.generation, detail);
    publish_replacement(std::move(detail), by);
  }
}

void supervisor_state::finish_recognised(leak_name known_as) {
  auto e = std::move(explanations.front());
  explanations.pop_front();
  for (auto& detail : e.waiting)
    publish_replacement(std::move(detail), known_as);
  if (auto i = names.find(e.slot); i == names.end() || i->second.generation <= e.generation)
    names[e.slot] = std::move(known_as);
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
  const auto generation = detail.at("generation").get<uint64_t>();
  auto e = explanation_of(index, generation);
  if (e != nullptr && e->waiting.size() < max_waiting) {
    e->waiting.push_back(std::move(detail));
    return;
  }
  auto known_as = name_of(index, generation, detail);
  publish_replacement(std::move(detail), known_as);
}

supervisor_state::leak_name supervisor_state::name_of(uint32_t index, uint64_t generation,
                                                      const nlohmann::json& detail) const {
  // By its own stacks, also when these show that it is not a known leak.
  if (auto i = names.find(index); i != names.end() && i->second.generation == generation)
    return i->second;
  // Else it is likely the slot's latest leak, if the growth is alike.
  const auto slope = detail.at("verdict") == to_string(growth::hoarding) ? "private_slope"
                                                                         : "live_slope";
  const auto rate = detail.at(slope).at("bytes_per_job").get<double>();
  if (auto i = names.find(index); i != names.end() && alike(i->second.bytes_per_job, rate))
    return i->second;
  const auto i = known_leaks.find(index);
  const auto recent = i != known_leaks.end()
                      && self->clock().now() - i->second.when < settings.explain_interval;
  return recent && alike(i->second.bytes_per_job, rate) ? i->second.name : leak_name{};
}

void supervisor_state::publish_replacement(nlohmann::json detail, const leak_name& known_as) {
  // Not for a crash or the like, which has no cause in memory.
  const auto of_memory = supervision::parse_leak_cause(detail.at("cause").get<std::string>());
  const auto unsuspected = detail.at("verdict") == to_string(growth::healthy)
                           || detail.at("verdict") == to_string(growth::caching)
                           || detail.at("verdict") == to_string(growth::warming_up);
  // Nor is its cause hoarding if its own growth is not suspected, whatever the previous worker's
  // was.
  const auto contradicts = unsuspected
                           && known_as.cause == to_string(supervision::leak_cause::hoarding);
  if (of_memory && !known_as.cause.empty() && !contradicts) {
    detail["cause"] = known_as.cause;
    if (!known_as.report.empty()) {
      detail["report"] = known_as.report;
      detail["sites"] = known_as.sites;
    }
  }
  settings.report->stats()
    .replacements.Add({{"cause", detail.at("cause").get<std::string>()}})
    .Increment();
  settings.report->emit(spdlog::level::warn, "worker_replaced", std::move(detail));
}

} // namespace ziyu::actors
