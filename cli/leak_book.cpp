#include "cli/leak_book.hpp"

#include "cli/json_fields.hpp"

#include <algorithm>

namespace ziyu::cli {

using nlohmann::json;
using supervision::call_stack;
using supervision::code_location;

namespace {

code_location location(const json& x) {
  return {text_in(x, "function"), text_in(x, "library"), text_in(x, "file"),
          static_cast<uint32_t>(count_in(x, "line"))};
}

call_stack stack(const json& x) {
  call_stack result;
  if (x.is_array())
    for (const auto& frame : x)
      result.push_back(location(frame));
  return result;
}

reported_site site(const json& x) {
  reported_site result;
  result.bytes = whole_in(x, "bytes");
  result.objects = whole_in(x, "objects");
  result.share = real_in(x, "share");
  result.threads = static_cast<uint32_t>(count_in(x, "threads"));
  result.cause = text_in(x, "cause");
  result.responsible = location(field(x, "responsible"));
  result.stack = stack(field(x, "stack"));
  result.full_stack = stack(field(x, "full_stack"));
  return result;
}

healing healing_from(const json& event) {
  const auto& detail = field(event, "detail");
  healing x;
  x.time_ms = whole_in(event, "time_ms");
  x.slot = static_cast<uint32_t>(count_in(detail, "slot"));
  x.generation = count_in(detail, "generation");
  x.new_generation = count_in(detail, "new_generation");
  x.report = text_in(detail, "report");
  x.cause = text_in(detail, "cause");
  x.reason = text_in(detail, "reason");
  x.bytes_recovered = whole_in(detail, "bytes_recovered");
  x.ms = real_in(detail, "ms");
  return x;
}

json to_json(const std::vector<healing>& healed) {
  auto list = json::array();
  for (const auto& x : healed)
    list.push_back({{"time_ms", x.time_ms},
                    {"slot", x.slot},
                    {"generation", x.generation},
                    {"new_generation", x.new_generation},
                    {"cause", x.cause},
                    {"reason", x.reason},
                    {"bytes_recovered", x.bytes_recovered},
                    {"ms", x.ms}});
  return list;
}

template <class T>
void insert_by_time(std::vector<T>& all, T x) {
  const auto after = std::upper_bound(all.begin(), all.end(), x,
                                      [](const T& a, const T& b) { return a.time_ms < b.time_ms; });
  all.insert(after, std::move(x));
}

} // namespace

std::vector<reported_job> series_from(const json& x) {
  std::vector<reported_job> result;
  const auto &columns = field(x, "columns"), &rows = field(x, "rows");
  if (!columns.is_array() || !rows.is_array())
    return result;
  auto index = [&columns](const char* name) {
    return static_cast<size_t>(std::find(columns.begin(), columns.end(), name) - columns.begin());
  };
  const auto job = index("job"), delta = index("delta_bytes"), live = index("live_bytes"),
             private_bytes = index("private_bytes");
  for (const auto& row : rows) {
    auto cell = [&row](size_t i) -> const json& {
      static const json nothing;
      return row.is_array() && i < row.size() ? row[i] : nothing;
    };
    result.push_back({static_cast<uint64_t>(std::max<int64_t>(0, whole_from(cell(job)))),
                      whole_from(cell(delta)), whole_from(cell(live)),
                      whole_from(cell(private_bytes))});
  }
  return result;
}

expected<leak_story> story_from_json(const json& event) {
  const auto& detail = field(event, "detail");
  leak_story x;
  x.id = text_in(detail, "report");
  if (text_in(event, "type") != "leak_report" || x.id.empty())
    return fail(errc::unknown_schema, "no leak report");
  x.time_ms = whole_in(event, "time_ms");
  x.instance = text_in(event, "instance");
  x.cause = text_in(detail, "cause");
  x.verdict = text_in(detail, "verdict");
  x.reason = text_in(detail, "reason");
  x.slot = static_cast<uint32_t>(count_in(detail, "slot"));
  x.generation = count_in(detail, "generation");
  x.pid = whole_in(detail, "pid");
  const auto& growth = field(detail, "growth");
  x.growth_bytes = whole_in(growth, "bytes");
  x.growth_jobs = count_in(growth, "jobs");
  x.bytes_per_job = real_in(growth, "bytes_per_job");
  x.lower = real_in(growth, "lower");
  x.upper = real_in(growth, "upper");
  if (const auto& forecast = field(detail, "forecast"); field(forecast, "jobs_left").is_number()) {
    x.left.emplace();
    x.left->jobs_left = count_in(forecast, "jobs_left");
    x.left->earliest = count_in(forecast, "earliest");
    if (field(forecast, "latest").is_number())
      x.left->latest = count_in(forecast, "latest");
  }
  x.budget_bytes = whole_in(detail, "budget_bytes");
  x.baseline_bytes = whole_in(detail, "baseline_bytes");
  x.private_bytes = whole_in(detail, "private_bytes");
  x.peak_private_bytes = whole_in(detail, "peak_private_bytes");
  const auto& sampling = field(detail, "sampling");
  x.sample_bytes = count_in(sampling, "sample_bytes");
  x.estimated_bytes = whole_in(sampling, "estimated_bytes");
  x.calibrated = field(sampling, "calibrated") == true;
  if (const auto& sites = field(detail, "sites"); sites.is_array())
    for (const auto& item : sites)
      x.sites.push_back(site(item));
  x.flame = text_in(detail, "flame");
  x.series = series_from(field(detail, "series"));
  x.explain_ms = real_in(detail, "explain_ms");
  x.event = event;
  return x;
}

void leak_book::add(const json& event) {
  const auto type = text_in(event, "type");
  if (type == "leak_report") {
    auto x = story_from_json(event);
    if (!x)
      return;
    const auto known = std::find_if(stories_.begin(), stories_.end(),
                                    [&](const leak_story& y) { return y.id == x->id; });
    if (known != stories_.end()) {
      if (known->time_ms > x->time_ms)
        return;
      stories_.erase(known);
    }
    insert_by_time(stories_, std::move(*x));
  } else if (type == "worker_replaced") {
    if (auto x = healing_from(event); !x.report.empty())
      insert_by_time(healings_, std::move(x));
  }
}

std::vector<healing> leak_book::healings_of(std::string_view id) const {
  std::vector<healing> result;
  std::copy_if(healings_.begin(), healings_.end(), std::back_inserter(result),
               [&](const healing& x) { return x.report == id; });
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
      if (whole_id ? x.id == id : x.id.starts_with(beginning))
        found.push_back(&x);
    if (found.size() == 1)
      return found.front();
  }
  std::vector<const leak_story*> found;
  for (const auto& x : stories_)
    if (!id.empty() && x.id.starts_with(id))
      found.push_back(&x);
  if (found.size() == 1)
    return found.front();
  std::string known;
  auto name = [&known](const leak_story& x) { known += (known.empty() ? "" : ", ") + x.id; };
  for (const auto* x : found)
    name(*x);
  if (!found.empty())
    return fail(errc::io, "report " + std::string{id} + " may be any of " + known);
  for (const auto& x : stories_)
    name(x);
  return fail(errc::io, "there is no report " + std::string{id} + "; known are " + known);
}

json summary_json(const leak_story& x, const std::vector<healing>& healed) {
  json result{{"report", x.id},
              {"time_ms", x.time_ms},
              {"instance", x.instance},
              {"slot", x.slot},
              {"generation", x.generation},
              {"pid", x.pid},
              {"cause", x.cause},
              {"verdict", x.verdict},
              {"reason", x.reason},
              {"growth",
               {{"bytes", x.growth_bytes},
                {"jobs", x.growth_jobs},
                {"bytes_per_job", x.bytes_per_job},
                {"lower", x.lower},
                {"upper", x.upper}}},
              {"replacements", to_json(healed)}};
  int64_t recovered = 0;
  for (const auto& y : healed)
    recovered += y.bytes_recovered;
  result["bytes_recovered"] = recovered;
  if (!x.sites.empty()) {
    const auto& top = x.sites.front();
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
