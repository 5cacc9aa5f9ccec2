#include "cli/leaks/book.hpp"

#include "cli/common/json.hpp"
#include "supervision/symbolizer.hpp"

#include <algorithm>
#include <numeric>

namespace ziyu::cli {

using nlohmann::json;
namespace {

json to_json(const std::vector<healing>& healed) {
  auto list = json::array();
  for (const auto& x : healed)
    list.push_back({{"time_ms", x.time_ms},
                    {"slot", x.what.worker.slot},
                    {"generation", x.what.worker.generation},
                    {"new_generation", x.what.new_generation},
                    {"cause", x.what.cause},
                    {"reason", x.what.reason},
                    {"bytes_recovered", x.what.bytes_recovered},
                    {"ms", x.what.ms}});
  return list;
}

template <class T>
void insert_by_time(std::vector<T>& all, T x) {
  const auto after = std::upper_bound(all.begin(), all.end(), x,
                                      [](const T& a, const T& b) { return a.time_ms < b.time_ms; });
  all.insert(after, std::move(x));
}

} // namespace

void leak_book::add(const json& event) {
  auto read = events::event_from_json(event);
  if (!read)
    return;
  if (auto* report = std::get_if<events::leak_report>(&read->body)) {
    if (report->report.empty())
      return;
    leak_story x{read->time_ms, std::move(read->instance), std::move(*report), event};
    const auto known = std::find_if(stories_.begin(), stories_.end(), [&](const leak_story& y) {
      return y.what.report == x.what.report;
    });
    if (known != stories_.end()) {
      if (known->time_ms > x.time_ms)
        return;
      stories_.erase(known);
    }
    insert_by_time(stories_, std::move(x));
  } else if (auto* replaced = std::get_if<events::worker_replaced>(&read->body)) {
    if (!replaced->report.value_or("").empty())
      insert_by_time(healings_, healing{read->time_ms, std::move(*replaced)});
  }
}

std::vector<healing> leak_book::healings_of(std::string_view id) const {
  std::vector<healing> result;
  std::copy_if(healings_.begin(), healings_.end(), std::back_inserter(result),
               [&](const healing& x) { return x.what.report == id; });
  return result;
}

expected<const leak_story*> leak_book::find(std::string_view id) const {
  if (stories_.empty())
    return fail(errc::io, "there is no leak report in the event topic");
  auto all_that = [this](auto&& fits) {
    std::vector<const leak_story*> result;
    for (const auto& x : stories_)
      if (fits(x.what.report))
        result.push_back(&x);
    return result;
  };
  // In this order: the whole id, a whole worker, any beginning of an id.
  const auto worker = std::string{id} + "-";
  const auto begun = all_that([&](const auto& x) { return !id.empty() && x.starts_with(id); });
  for (const auto& found : {all_that([&](const auto& x) { return x == id; }),
                            all_that([&](const auto& x) { return x.starts_with(worker); }), begun})
    if (found.size() == 1)
      return found.front();
  std::string known;
  for (const auto* x : begun.empty() ? all_that([](const auto&) { return true; }) : begun)
    known += (known.empty() ? "" : ", ") + x->what.report;
  return fail(errc::io, begun.empty()
                          ? "there is no report " + std::string{id} + "; known are " + known
                          : "report " + std::string{id} + " may be any of " + known);
}

uint64_t recovered_by(const std::vector<healing>& healed) {
  return std::accumulate(
    healed.begin(), healed.end(), uint64_t{0},
    [](uint64_t sum, const healing& x) { return sum + x.what.bytes_recovered; });
}

json summary_json(const leak_story& x, const std::vector<healing>& healed) {
  const auto& what = x.what;
  json result{{"report", what.report},
              {"time_ms", x.time_ms},
              {"instance", x.instance},
              {"slot", what.worker.slot},
              {"generation", what.worker.generation},
              {"pid", what.worker.pid},
              {"cause", what.cause},
              {"verdict", what.worker.verdict},
              {"reason", what.reason},
              {"growth",
               {{"bytes", what.growth.bytes},
                {"jobs", what.growth.jobs},
                {"bytes_per_job", what.growth.per_job.bytes_per_job},
                {"lower", what.growth.per_job.lower},
                {"upper", what.growth.per_job.upper}}},
              {"replacements", to_json(healed)},
              {"bytes_recovered", recovered_by(healed)}};
  if (!what.sites.empty()) {
    const auto& top = what.sites.front();
    result["top_site"] = {{"function", supervision::short_name(top.responsible.function)},
                          {"library", top.responsible.library},
                          {"bytes", top.bytes},
                          {"share", top.share}};
  }
  return result;
}

json story_json(const leak_story& x, const std::vector<healing>& healed) {
  auto result = field(x.event, "detail");
  result["time_ms"] = x.time_ms;
  result["instance"] = x.instance;
  result["replacements"] = to_json(healed);
  return result;
}

} // namespace ziyu::cli
