#include "cli/leaks/view.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "cli/view/drawing.hpp"
#include "cli/view/rows.hpp"
#include "supervision/call_stack.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::cli {

namespace {

constexpr uint64_t rows_every_jobs = 10;
constexpr int64_t most_delta = int64_t{1} << 60;
/// Of a site below this share of the growth, only the frame to blame is shown.
constexpr double brief_share = 0.02;
constexpr size_t id_columns = 16, cause_columns = 18, head_columns = 10;

std::string signed_of(double x) { return signed_bytes(std::llround(x)); }

std::string worker_of(const leak_story& x) {
  return std::to_string(x.what.worker.slot) + "." + std::to_string(x.what.worker.generation);
}

/// "6.0 MiB", or "6.0 MiB (5.9 to 6.1 MiB)" if the bounds differ.
std::string with_interval(const leak_story& x) {
  const auto& growth = x.what.growth.per_job;
  auto value = signed_of(growth.bytes_per_job);
  const auto lower = signed_of(growth.lower), upper = signed_of(growth.upper);
  if (lower == value && upper == value)
    return value;
  return value + " (" + lower + " to " + upper + ")";
}

std::string name_of(const events::frame& x) {
  return supervision::describe(supervision::code_location{x.function, x.library, {}, 0});
}

/// "file.cpp:42", if known.
std::string place_of(const events::frame& x) {
  const auto file = x.file.value_or("");
  const auto line = x.line.value_or(0);
  return file.empty() || line == 0 ? file : file + ":" + std::to_string(line);
}

class story_view : page {
public:
  story_view(const leak_story& x, const std::vector<healing>& healed, size_t columns, bool full,
             bool colours)
    : page(columns, colours), x_(x), healed_(healed), full_(full) {}

  std::vector<std::string> draw() {
    head();
    memory();
    sites();
    healing_done();
    return take();
  }

private:
  /// Never cut: a name or a reason with an ellipsis would be useless.
  void put_prose(const char* name, const std::string& text) {
    line(coloured(fit(name, head_columns), colour::grey) + printable(text));
  }

  void head() {
    const auto& what = x_.what;
    const auto& worker = what.worker;
    line(coloured("leak " + printable(what.report), colour::bold) + "  "
         + coloured(printable(what.cause), colour::red));
    put_prose("worker", "slot " + std::to_string(worker.slot) + " generation "
                          + std::to_string(worker.generation) + ", pid "
                          + std::to_string(worker.pid)
                          + (x_.instance.empty() ? "" : ", of " + x_.instance));
    put_prose("time", time_of(x_.time_ms));
    put_prose("verdict", worker.verdict + (what.reason.empty() ? "" : ": " + what.reason));
    put_prose("growth", format_bytes(what.growth.bytes) + " in " + counted(what.growth.jobs, "job")
                          + ", " + with_interval(x_) + " per job");
    put_prose("private", bytes_of(worker.private_bytes) + " now, " + bytes_of(worker.baseline_bytes)
                           + " when fresh, " + bytes_of(worker.peak_private_bytes)
                           + " at its peak; the budget is " + bytes_of(worker.budget_bytes));
    if (const auto& left = what.forecast)
      put_prose("forecast", counted(left->jobs_left, "job") + " left until the budget ("
                              + (left->latest ? std::to_string(left->earliest) + " to "
                                                  + std::to_string(*left->latest)
                                              : "at least " + std::to_string(left->earliest))
                              + ")");
    else
      put_prose("forecast", "none: the growth does not lead to the budget so far");
  }

  void memory() {
    const auto& jobs = x_.what.worker.series.points;
    const auto budget = x_.what.worker.budget_bytes;
    if (jobs.empty())
      return;
    title("memory every " + std::to_string(rows_every_jobs) + " jobs (delta: since the row above)");
    put(start()
          .cell("JOB", 9, colour::grey, true)
          .cell("DELTA", 13, colour::grey, true)
          .cell("LIVE", 12, colour::grey, true)
          .cell("PRIVATE", 12, colour::grey, true)
          .add("  OF THE BUDGET", colour::grey));
    int64_t delta = 0;
    for (size_t i = 0; i < jobs.size(); ++i) {
      const auto& job = jobs[i];
      delta = std::clamp(delta + job.delta_bytes, -most_delta, most_delta); // rows of anybody
      const auto shown = i == 0 || i + 1 == jobs.size() || job.job % rows_every_jobs == 0;
      if (!shown)
        continue;
      auto row = start();
      row.cell(std::to_string(job.job), 9, {}, true)
        .cell(signed_bytes(delta), 13, delta > 0 ? colour::yellow : colour::grey, true)
        .cell(bytes_of(job.live_bytes), 12, {}, true)
        .cell(bytes_of(job.private_bytes), 12, {}, true);
      if (budget > 0) {
        const auto share = static_cast<double>(job.private_bytes) / static_cast<double>(budget);
        row.add("  ").bar(share, std::min<size_t>(24, row.room()), level_of(share));
      }
      put(std::move(row));
      delta = 0;
    }
  }

  void sites() {
    const auto& sampling = x_.what.sampling;
    if (x_.what.sites.empty()) {
      title("where it grew");
      line("  not known: this worker's allocations were not sampled");
      return;
    }
    title("where it grew, by "
          + (sampling.sample_bytes > 0 ? "a sample every " + bytes_of(sampling.sample_bytes)
                                       : std::string{"samples"})
          + (sampling.calibrated ? ", scaled to the exact growth" : ", estimated"));
    for (const auto& site : x_.what.sites) {
      auto row = start();
      row.cell(format("%.1f %%", site.share * 100), 9, {}, true)
        .add(" ")
        .bar(site.share, 20, colour::red)
        .cell(format_bytes(site.bytes), 11, {}, true)
        .add("  ")
        .add(site.cause, colour::yellow)
        .add("  " + counted(static_cast<uint64_t>(std::max<int64_t>(0, site.objects)), "object"),
             colour::grey);
      if (site.threads > 1)
        row.add(" in " + counted(site.threads, "thread"), colour::grey);
      put(std::move(row));
      if (full_ && !site.full_stack.empty())
        frames(site.full_stack, site);
      else if (site.share < brief_share)
        frames({site.responsible}, site);
      else
        frames(site.stack, site);
    }
  }

  /// The frame to blame is highlighted.
  void frames(const std::vector<events::frame>& stack, const events::site& site) {
    auto blamed = false;
    for (const auto& frame : stack) {
      const auto is_it = !blamed && frame == site.responsible;
      blamed |= is_it;
      const auto place = place_of(frame);
      line((is_it ? "        > " : "          ")
           + coloured(printable(name_of(frame)), is_it ? colour::bold : colour::grey)
           + (place.empty() ? "" : "  " + coloured(printable(place), colour::cyan)));
    }
  }

  void healing_done() {
    title("what healed it");
    if (healed_.empty())
      line("  no replacement so far");
    for (const auto& x : healed_) {
      line("  " + fit(time_of(x.time_ms), 18) + "  slot " + std::to_string(x.what.worker.slot)
           + " generation " + std::to_string(x.what.worker.generation) + " replaced by "
           + std::to_string(x.what.new_generation) + " in " + format("%.0f ms, ", x.what.ms)
           + coloured(bytes_of(x.what.bytes_recovered) + " recovered", colour::green));
      if (x.what.reason != x_.what.reason && !x.what.reason.empty())
        line("    " + coloured(printable(x.what.reason), colour::grey));
    }
  }

  const leak_story& x_;
  const std::vector<healing>& healed_;
  bool full_;
};

} // namespace

std::string leak_head(bool colours) {
  return paint(fit("REPORT", id_columns) + " " + fit("TIME", 18) + " " + fit("WORKER", 7) + " "
                 + fit("CAUSE", cause_columns) + " " + fit("PER JOB", 32) + " "
                 + fit("GROWN", 9, true) + " " + fit("HEALED", 6, true) + " "
                 + fit("RECOVERED", 9, true) + " TOP SITE",
               colour::bold, colours);
}

std::string leak_row(const leak_story& x, const std::vector<healing>& healed, bool colours) {
  const auto& sites = x.what.sites;
  return fit(x.what.report, id_columns) + " " + fit(time_of(x.time_ms), 18) + " "
         + fit(worker_of(x), 7) + " "
         + paint(fit(x.what.cause, cause_columns), colour::yellow, colours) + " "
         + fit(with_interval(x), 32) + " " + fit(format_bytes(x.what.growth.bytes), 9, true) + " "
         + fit(std::to_string(healed.size()), 6, true) + " "
         + paint(fit(bytes_of(recovered_by(healed)), 9, true), colour::green,
                 colours && !healed.empty())
         + " "
         + (sites.empty() ? "?"
                          : format("%.0f %% ", sites.front().share * 100)
                              + printable(name_of(sites.front().responsible)));
}

std::vector<std::string> draw_leak(const leak_story& x, const std::vector<healing>& healed,
                                   size_t columns, bool full, bool colours) {
  return story_view{x, healed, columns, full, colours}.draw();
}

chart leak_chart(const leak_story& x) {
  using point = events::series::point;
  const auto& jobs = x.what.worker.series.points;
  const auto per_job = x.what.growth.per_job.bytes_per_job;
  chart c;
  c.title = "Leak " + x.what.report + ": " + x.what.cause + ", " + signed_of(per_job) + " per job";
  if (jobs.empty()) {
    c.x_label = "no series in the report";
    return c;
  }
  auto lowest = [&jobs](uint64_t point::*what) {
    auto result = jobs.front().*what;
    for (const auto& job : jobs)
      result = std::min(result, job.*what);
    return result;
  };
  const auto live = lowest(&point::live_bytes), private_bytes = lowest(&point::private_bytes);
  uint64_t highest = 1;
  for (const auto& job : jobs)
    highest = std::max({highest, job.live_bytes - live, job.private_bytes - private_bytes});
  const auto [unit, name] = highest >= 1 << 30   ? std::pair{0x1p30, "GiB"}
                            : highest >= 1 << 20 ? std::pair{0x1p20, "MiB"}
                            : highest >= 1 << 10 ? std::pair{0x1p10, "KiB"}
                                                 : std::pair{1., "B"};
  // Counts from the first known job: the series has only the latest ones.
  const auto first = jobs.front().job;
  auto since_first = [first](const point& job) {
    return static_cast<double>(job.job) - static_cast<double>(first);
  };
  c.x_label = "jobs of this worker since its job " + std::to_string(first);
  c.y_label = name;
  chart_series all_live{"live bytes, above " + bytes_of(live), "#dc2626", false, {}},
    all_private{"private memory, above " + bytes_of(private_bytes), "#0f766e", false, {}};
  for (const auto& job : jobs) {
    const auto at = since_first(job);
    all_live.points.emplace_back(at, static_cast<double>(job.live_bytes - live) / unit);
    all_private.points.emplace_back(at,
                                    static_cast<double>(job.private_bytes - private_bytes) / unit);
  }
  const auto budget = x.what.worker.budget_bytes;
  if (budget > private_bytes && budget - private_bytes <= 4 * highest)
    c.limit = {static_cast<double>(budget - private_bytes) / unit, "budget " + bytes_of(budget)};
  chart_series slope{"slope " + with_interval(x) + " per job", "#6b7280", true, {}};
  if (per_job > 0) {
    // Continues to the budget, if that is in the picture.
    const auto& left = x.what.forecast;
    const auto span = since_first(jobs.back());
    const auto ahead = c.limit && left ? static_cast<double>(left->jobs_left) : 0;
    slope.points = {{0, 0}, {span + ahead, per_job * (span + ahead) / unit}};
  }
  c.series = {std::move(all_live), std::move(all_private)};
  if (!slope.points.empty())
    c.series.push_back(std::move(slope));
  return c;
}

} // namespace ziyu::cli
