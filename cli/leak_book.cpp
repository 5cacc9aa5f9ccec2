#include "cli/leak_book.hpp"

#include "cli/json_fields.hpp"
#include "supervision/symbolizer.hpp"

#include <algorithm>

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

expected<leak_story> story_from_json(const json& event) {
  auto read = events::event_from_json(event);
  auto* what = read ? std::get_if<events::leak_report>(&read->body) : nullptr;
  if (what == nullptr || what->report.empty())
    return fail(errc::unknown_schema, "no leak report");
  return leak_story{read->time_ms, std::move(read->instance), std::move(*what), event};
}

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
  // In this order: the whole id, a whole worker, any beginning of an id.
  for (const auto& beginning : {std::string{id}, std::string{id} + "-"}) {
    const auto whole_id = beginning == id;
    std::vector<const leak_story*> found;
    for (const auto& x : stories_)
      if (whole_id ? x.what.report == id : x.what.report.starts_with(beginning))
        found.push_back(&x);
    if (found.size() == 1)
      return found.front();
  }
  std::vector<const leak_story*> found;
  for (const auto& x : stories_)
    if (!id.empty() && x.what.report.starts_with(id))
      found.push_back(&x);
  if (found.size() == 1)
    return found.front();
  std::string known;
  auto name = [&known](const leak_story& x) {
    known += (known.empty() ? "" : ", ") + x.what.report;
  };
  for (const auto* x : found)
    name(*x);
  if (!found.empty())
    return fail(errc::io, "report " + std::string{id} + " may be any of " + known);
  for (const auto& x : stories_)
    name(x);
  return fail(errc::io, "there is no report " + std::string{id} + "; known are " + known);
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
              {"replacements", to_json(healed)}};
  uint64_t recovered = 0;
  for (const auto& y : healed)
    recovered += y.what.bytes_recovered;
  result["bytes_recovered"] = recovered;
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
