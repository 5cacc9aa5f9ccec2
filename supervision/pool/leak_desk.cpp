#include "supervision/pool/leak_desk.hpp"

#include "base/check.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace ziyu::supervision {

using namespace std::chrono_literals;

namespace {

/// Least time between two explanations of one slot, even if its leaks differ.
constexpr auto least_pause = 5s;

/// The pause before the next dump, as a multiple of the time that the last dump took.
constexpr int64_t dump_pauses = 20;

/// Only the helper reads a larger dump; most have tens of KB.
constexpr size_t max_recognised_bytes = 1u << 20;

/// Bound for dumps that wait for the helper.
constexpr size_t max_filed = 8;

/// Bound for reports that later replacements can refer to.
constexpr size_t max_reports = 64;

/// Time for the helper, which takes a second for libtorch with an idle core.
constexpr auto explain_limit = 30s;

/// Bound for replacements that wait for one dump.
constexpr size_t max_waiting = 64;

/// Longer flame graphs are cut at a line: an event must fit into its topic.
constexpr size_t max_flame_bytes = 64 * 1024;

/// Bound for the sites in a replacement's event.
constexpr size_t sites_in_event = 3;

/// Whether two growths per job are about equal, so that it is likely the same leak.
bool alike(double a, double b) { return a > 0 && b > 0 && a < 2 * b && b < 2 * a; }

std::string cut_at_line(std::string text, size_t limit) {
  if (text.size() > limit)
    text.resize(text.rfind('\n', limit) + 1);
  return text;
}

/// The report has all sites.
std::vector<events::short_site> short_sites(const leak_report& x) {
  std::vector<events::short_site> list;
  for (const auto& site : x.sites) {
    if (list.size() == sites_in_event)
      break;
    const auto& by = site.responsible();
    list.push_back({static_cast<int64_t>(std::llround(site.bytes)), site.share, by.function,
                    by.library, by.file, by.line});
  }
  return list;
}

std::string id_of(const leak_desk::dump& x) {
  char random[16];
  std::snprintf(random, sizeof random, "%08x", static_cast<unsigned>(x.random));
  return std::to_string(x.worker.slot) + "." + std::to_string(x.worker.generation) + "-" + random;
}

} // namespace

double leak_desk::growth_of(const leak_judge::verdict& x) {
  return std::max(x.live.bytes_per_job,
                  x.kind == growth::hoarding ? x.private_memory.bytes_per_job : 0.);
}

bool leak_desk::is_explained(uint32_t slot, double growth_per_job, clock::time_point now) const {
  const auto i = known_leaks_.find(slot);
  if (i == known_leaks_.end())
    return false;
  const auto age = now - i->second.when;
  return age < least_pause
         || (age < settings_.explain_interval
             && (growth_per_job == 0 || alike(i->second.name.growth_per_job, growth_per_job)));
}

bool leak_desk::is_under_way(uint32_t slot, uint64_t generation) const {
  return std::any_of(filed_.begin(), filed_.end(), [&](const entry& e) {
    return e.what.worker.slot == slot && e.what.worker.generation == generation;
  });
}

void leak_desk::note_dump(int64_t cost_us, int64_t now_us) {
  next_dump_us_ = now_us + dump_pauses * cost_us;
}

// -- dumps -----------------------------------------------------------------------------------

void leak_desk::take(dump x, clock::time_point now, int64_t now_us) {
  const auto slot = x.worker.slot;
  const auto known = known_leaks_.find(slot);
  const auto age = known == known_leaks_.end() ? least_pause + settings_.explain_interval
                                               : now - known->second.when;
  auto recognised = false;
  if (auto known_as = recognise(x)) {
    // Its cause is known at once; a report would only add its numbers.
    const auto fresh = known != known_leaks_.end() && known_as->cause == known->second.name.cause
                       && age < settings_.explain_interval;
    names_[slot] = std::move(*known_as);
    if (fresh || age < least_pause)
      return;
    recognised = true;
  } else if (x.request.after.starts_with("heap_v2/")) {
    names_[slot] = leak_name{x.worker.generation, {}, {}, {}, 0}; // none of the known ones
  } else if (is_explained(slot, x.growth_per_job, now)) {
    return;
  }
  if (filed_.size() >= max_filed || !helpers_.admit(now))
    return;
  entry e;
  e.report = id_of(x);
  e.what = std::move(x);
  e.recognised = recognised;
  e.give_up_at = now + explain_limit;
  e.asked_us = now_us;
  filed_.push_back(std::move(e));
}

std::optional<leak_desk::leak_name> leak_desk::recognise(const dump& x) const {
  if (x.request.after.size() > max_recognised_bytes)
    return std::nullopt;
  const auto found = stacks_.recognise(x.request.after);
  if (!found)
    return std::nullopt;
  const auto cause = name_cause(x.request.evidence, found->sites);
  if (cause == leak_cause::unknown)
    return std::nullopt;
  leak_name known_as{x.worker.generation, std::string{to_string(cause)}, {}, {}, x.growth_per_job};
  // The report is of this leak only if both give it the same name.
  if (auto i = reports_.find(found->report);
      i != reports_.end() && i->second.cause == known_as.cause) {
    known_as.report = i->second.report;
    known_as.sites = i->second.sites;
  }
  return known_as;
}

std::vector<events::body> leak_desk::finish_recognised() {
  std::vector<events::body> news;
  while (!filed_.empty() && !filed_.front().number) {
    const auto& e = filed_.front();
    // A report that the slot itself wants is still made.
    if (e.recognised || !known_leaks_.contains(e.what.worker.slot))
      break;
    auto known_as = recognise(e.what);
    if (!known_as)
      break;
    auto done = pop();
    for (auto& x : done.waiting)
      news.emplace_back(named(std::move(x), *known_as));
    set_name(done.what.worker.slot, std::move(*known_as));
  }
  return news;
}

const leak_request* leak_desk::to_hand_over() const {
  return filed_.empty() || filed_.front().number ? nullptr : &filed_.front().what.request;
}

void leak_desk::handed_over(uint64_t number) {
  require(to_hand_over() != nullptr, "a helper got a dump that was not to be handed over");
  auto& e = filed_.front();
  e.number = number;
  e.what.request = {}; // frees megabytes
}

std::optional<uint64_t> leak_desk::at_work() const {
  return filed_.empty() ? std::nullopt : filed_.front().number;
}

bool leak_desk::is_late(clock::time_point now) const {
  return !filed_.empty() && now >= filed_.front().give_up_at;
}

uint32_t leak_desk::slot_in_front() const {
  require(!filed_.empty(), "no dump is filed");
  return filed_.front().what.worker.slot;
}

leak_desk::entry leak_desk::pop() {
  require(!filed_.empty(), "no dump is filed");
  auto e = std::move(filed_.front());
  filed_.pop_front();
  return e;
}

// -- reports and names -------------------------------------------------------------------------

std::vector<events::body> leak_desk::finish(const expected<leak_report>& found,
                                            clock::time_point now, int64_t now_us) {
  auto e = pop();
  std::vector<events::body> news;
  std::optional<leak_name> known_as;
  if (found) {
    stacks_.learn(found->stacks, e.report);
    known_as = leak_name{e.what.worker.generation, std::string{to_string(found->cause)}, e.report,
                         short_sites(*found), e.what.growth_per_job};
    learn(e, *known_as, now);
    news.emplace_back(report_of(e, *found, now_us));
  }
  for (auto& x : e.waiting) {
    const auto by = known_as ? *known_as : name_of(x, now);
    news.emplace_back(named(std::move(x), by));
  }
  return news;
}

void leak_desk::learn(const entry& e, const leak_name& name, clock::time_point now) {
  reports_[e.report] = name;
  report_order_.push_back(e.report);
  if (report_order_.size() > max_reports) {
    reports_.erase(report_order_.front());
    report_order_.pop_front();
  }
  known_leaks_[e.what.worker.slot] = {name, now};
  set_name(e.what.worker.slot, name);
}

void leak_desk::set_name(uint32_t slot, leak_name name) {
  if (auto i = names_.find(slot); i == names_.end() || i->second.generation <= name.generation)
    names_[slot] = std::move(name);
}

events::leak_report leak_desk::report_of(const entry& e, const leak_report& x, int64_t now_us) {
  const auto& worker = e.what.worker;
  events::leak_report told;
  told.worker = worker;
  told.report = e.report;
  told.cause = to_string(x.cause);
  told.reason = worker.judgement;
  told.growth = {std::llround(x.growth_bytes), x.jobs, worker.live_slope};
  if (worker.jobs_left)
    told.forecast = {*worker.jobs_left, worker.jobs_left_earliest.value_or(0),
                     worker.jobs_left_latest};
  told.sampling = {x.sample_bytes, std::llround(x.estimated_bytes), x.calibrated};
  told.sites = reported_sites(x);
  told.flame = cut_at_line(x.flame, max_flame_bytes);
  told.explain_ms = static_cast<double>(now_us - e.asked_us) / 1000;
  return told;
}

std::optional<events::worker_replaced> leak_desk::name(events::worker_replaced x,
                                                       clock::time_point now) {
  const auto e = std::find_if(filed_.begin(), filed_.end(), [&](const entry& y) {
    return y.what.worker.slot == x.worker.slot && y.what.worker.generation == x.worker.generation;
  });
  if (e != filed_.end() && e->waiting.size() < max_waiting) {
    e->waiting.push_back(std::move(x));
    return std::nullopt;
  }
  const auto by = name_of(x, now);
  return named(std::move(x), by);
}

leak_desk::leak_name leak_desk::name_of(const events::worker_replaced& x,
                                        clock::time_point now) const {
  const auto& worker = x.worker;
  const auto latest = names_.find(worker.slot);
  // By its own stacks, also when these show that it is not a known leak.
  if (latest != names_.end() && latest->second.generation == worker.generation)
    return latest->second;
  // Else it is likely the slot's latest leak, if the growth is alike.
  const auto rate = worker.verdict == to_string(growth::hoarding)
                      ? worker.private_slope.bytes_per_job
                      : worker.live_slope.bytes_per_job;
  if (latest != names_.end() && alike(latest->second.growth_per_job, rate))
    return latest->second;
  const auto i = known_leaks_.find(worker.slot);
  const auto recent = i != known_leaks_.end() && now - i->second.when < settings_.explain_interval;
  return recent && alike(i->second.name.growth_per_job, rate) ? i->second.name : leak_name{};
}

events::worker_replaced leak_desk::named(events::worker_replaced x, const leak_name& known_as) {
  // Not for a crash or the like, which has no cause in memory.
  const auto of_memory = parse_leak_cause(x.cause).has_value();
  const auto& verdict = x.worker.verdict;
  const auto unsuspected = verdict == to_string(growth::healthy)
                           || verdict == to_string(growth::caching)
                           || verdict == to_string(growth::warming_up);
  // Nor is its cause hoarding if its own growth is not suspected, whatever the previous worker's
  // was.
  const auto contradicts = unsuspected && known_as.cause == to_string(leak_cause::hoarding);
  if (!of_memory || known_as.cause.empty() || contradicts)
    return x;
  x.cause = known_as.cause;
  if (!known_as.report.empty()) {
    x.report = known_as.report;
    x.sites = known_as.sites;
  }
  return x;
}

} // namespace ziyu::supervision
