#include "cli/top/view.hpp"

#include "cli/common/json.hpp"
#include "messaging/events/read.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::cli {

using nlohmann::json;

namespace {

constexpr size_t wide_columns = 150;
/// Of a worker's line: up to its private memory, its slope, its forecast, its verdict.
constexpr size_t slope_columns = 34, forecast_columns = 20, verdict_columns = 11;

/// The fork server's line, if `processes` has none.
void add_fork_server(const json& server, std::vector<process_reading>& processes) {
  const auto told = std::any_of(processes.begin(), processes.end(),
                                [](const auto& x) { return x.name == "fork_server"; });
  if (!server.is_object() || told)
    return;
  process_reading x;
  x.name = "fork_server";
  x.note = field(server, "ready") == true ? "ready"
           : field(server, "up") == true  ? "loading"
                                          : "down";
  events::read_fields(field(server, "pid"), x.pid);
  processes.push_back(std::move(x));
}

colour verdict_colour(const std::string& x) {
  return x == "healthy"                                   ? colour::green
         : x == "suspected" || x == "growing"             ? colour::yellow
         : x == "leak" || x == "hoarding" || x == "mixed" ? colour::red
                                                          : colour::grey;
}

/// Of private memory if only that grows, else of live bytes.
const events::slope& slope_of(const events::evidence& x) {
  return x.verdict == "hoarding" ? x.private_slope : x.live_slope;
}

std::string slope_text(const events::slope& x) {
  auto show = [](double bytes) { return signed_bytes(std::llround(bytes)); };
  const auto value = show(x.bytes_per_job), lower = show(x.lower), upper = show(x.upper);
  return value + "/job" + (lower == value && upper == value ? "" : " " + lower + "…" + upper);
}

std::string forecast_text(const events::evidence& x) {
  if (!x.jobs_left)
    return "";
  return counted(*x.jobs_left, "job") + " left"
         + (x.jobs_left_earliest && *x.jobs_left_earliest < *x.jobs_left
              ? " (≥" + std::to_string(*x.jobs_left_earliest) + ")"
              : "");
}

double share_of(uint64_t part, uint64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.;
}

class view : page {
public:
  view(const service_reading& x, const top_moment& now, size_t columns, size_t rows, bool colours)
    : page(columns, colours), x_(x), now_(now), rows_(rows) {}

  std::vector<std::string> draw() {
    head();
    workers();
    others();
    auto lines = take();
    if (rows_ > 0 && lines.size() > rows_)
      lines.resize(rows_);
    return lines;
  }

private:
  void head() {
    auto first = start();
    first.add("Ziyu 自愈", colour::bold).add("  " + now_.url, colour::cyan);
    if (const auto& [name, version] = x_.model; !name.empty())
      first.add("  model " + name + (version.empty() ? "" : " " + version));
    if (x_.uptime_s)
      first.add("  up " + format_uptime(*x_.uptime_s), colour::grey);
    put(std::move(first));
    if (!now_.trouble.empty())
      put(start().add(now_.trouble, colour::red));
    auto jobs = start();
    jobs.cell("jobs", 9, colour::grey);
    if (now_.jobs_per_second)
      jobs.add(format("%.1f/s  ", *now_.jobs_per_second), colour::bold);
    put(std::move(jobs.add(std::to_string(x_.waiting) + " waiting  " + std::to_string(x_.running)
                           + " running  " + std::to_string(x_.results) + " results  "
                           + counted(x_.dead_letters, "dead letter"))));
    put(start()
          .cell("pool", 9, colour::grey)
          .add(x_.status, x_.status == "healthy" ? colour::green : colour::yellow)
          .add("  " + std::to_string(x_.slots_up) + " of " + counted(x_.slots, "slot") + " up  "
               + counted(x_.standbys, "standby") + " warm  " + std::to_string(x_.replacements)
               + " replaced"));
    kafka();
    put(start()
          .cell("breaker", 9, colour::grey)
          .add(x_.breaker, x_.breaker == "closed" ? colour::green : colour::red)
          .add(x_.breaker_reason.empty() ? "" : ": " + x_.breaker_reason));
    const auto share = share_of(x_.memory_used_bytes, x_.memory_limit_bytes);
    auto memory = start();
    memory.cell("memory", 9, colour::grey);
    memory.bar(share, std::min<size_t>(30, memory.room() / 2), level_of(share / .8));
    put(std::move(memory.add(format(" %.1f %% of ", share * 100) + bytes_of(x_.memory_limit_bytes)
                             + (x_.memory_source.empty() ? "" : " (" + x_.memory_source + ")"))));
  }

  /// What blocks all jobs, or how far behind they are.
  void kafka() {
    auto line = start();
    line.cell("kafka", 9, colour::grey);
    if (!x_.consuming) {
      line.add("not consuming" + (x_.kafka.empty() ? "" : ": " + x_.kafka), colour::red);
    } else {
      line.add("consuming", colour::green)
        .add(x_.lag_records ? "  " + counted(*x_.lag_records, "record") + " behind"
                            : "  lag not known");
      if (x_.oldest_unfinished_s)
        line.add(format("  oldest job in hand %.1f s", *x_.oldest_unfinished_s));
    }
    put(std::move(line));
    // Reasons of Kafka and the breaker have lines of their own.
    for (const auto& reason : x_.reasons)
      if (!reason.starts_with("kafka: ") && !reason.starts_with("the breaker is "))
        put(start().cell("because", 9, colour::grey).add(reason, colour::red));
  }

  bool wide() const { return columns() >= wide_columns; }

  void workers() {
    line();
    const auto slots = static_cast<size_t>(std::count_if(
      x_.workers.begin(), x_.workers.end(), [](const auto& w) { return w.slot.has_value(); }));
    const auto fixed = drawn() + 1 + std::max<size_t>(1, x_.workers.size())
                       + (x_.processes.empty() ? 0 : 1 + x_.processes.size());
    const auto second_lines = !wide() && (rows_ == 0 || fixed + slots <= rows_);
    auto names = start();
    names.cell("WORKER", 7, colour::grey)
      .cell("PID", 8, colour::grey, true)
      .cell(" STATE", 9, colour::grey)
      .cell("JOBS", 7, colour::grey, true)
      .cell("DELTA", 10, colour::grey, true)
      .cell("LIVE", 10, colour::grey, true)
      .cell("PRIVATE", 10, colour::grey, true)
      .add(" ")
      .cell(wide() ? "OF BUDGET" : "BUDGET", bar_columns() + 1, colour::grey);
    if (wide())
      names.cell("SLOPE", slope_columns, colour::grey)
        .cell("FORECAST", forecast_columns, colour::grey);
    put(std::move(names.add("VERDICT", colour::grey)));
    for (const auto& w : x_.workers) {
      auto row = worker_line(w);
      if (wide())
        put(std::move(add_growth(row, w, verdict_columns)));
      else
        put(std::move(row.add(w.slot ? w.memory.verdict : "", verdict_colour(w.memory.verdict))));
      if (second_lines && w.slot) {
        auto more = start();
        more.add(std::string(7, ' '));
        put(std::move(add_growth(more, w, 0)));
      }
    }
    if (x_.workers.empty())
      put(start().add("no worker yet", colour::grey));
  }

  size_t bar_columns() const {
    constexpr size_t taken = 7 + 8 + 9 + 7 + 10 + 10 + 10 + 1 + 1;
    return wide() ? 14
           : columns() > taken + verdict_columns + 4
             ? std::min<size_t>(20, columns() - taken - verdict_columns)
             : 4;
  }

  styled_line worker_line(const worker_reading& w) const {
    auto row = start();
    const auto& m = w.memory;
    const auto share = share_of(m.private_bytes, m.budget_bytes);
    const auto delta = m.last_delta_bytes;
    const auto state = w.state == "serving" && w.held ? "held" : w.state;
    row
      .cell(w.slot ? std::to_string(*w.slot) + "." + std::to_string(m.generation) : "-", 7,
            colour::bold)
      .cell(m.pid > 0 ? std::to_string(m.pid) : "-", 8, {}, true)
      .cell(" " + state, 9, state == "serving" ? colour::green : colour::cyan)
      .cell(w.slot ? std::to_string(m.jobs) : "", 7, {}, true)
      .cell(w.slot ? signed_bytes(delta) : "", 10, delta > 0 ? colour::yellow : colour::grey, true)
      .cell(m.live_bytes != 0 ? bytes_of(m.live_bytes) : "", 10, {}, true)
      .cell(bytes_of(m.private_bytes), 10, level_of(share), true)
      .add(" ")
      .bar(share, bar_columns(), level_of(share))
      .add(" ");
    return row;
  }

  /// Slope, forecast, verdict (in so many columns, if any), and history in the remaining columns.
  styled_line& add_growth(styled_line& row, const worker_reading& w, size_t verdict) const {
    if (!w.slot)
      return row;
    const auto& m = w.memory;
    const auto& slope = slope_of(m);
    row
      .cell(slope_text(slope), slope_columns,
            slope.bytes_per_job > 0 ? colour::yellow : colour::grey)
      .cell(forecast_text(m), forecast_columns, colour::red);
    if (verdict > 0)
      row.cell(m.verdict, verdict, verdict_colour(m.verdict));
    std::vector<double> history;
    for (const auto& job : m.series.points)
      history.push_back(static_cast<double>(job.private_bytes));
    const auto cells = std::min<size_t>(64, row.room());
    return row.levels(history, cells, static_cast<double>(std::max<uint64_t>(1, m.budget_bytes)));
  }

  void others() {
    if (x_.processes.empty())
      return;
    line();
    for (const auto& p : x_.processes)
      put(start()
            .cell(p.name == "fork_server" ? "fork server" : p.name, 14, colour::grey)
            .cell(p.pid > 0 ? std::to_string(p.pid) : "-", 8)
            .cell(p.private_bytes ? bytes_of(*p.private_bytes) : "", 10, {}, true)
            .add("  ")
            .add(p.note, p.note == "ready" ? colour::green : verdict_colour(p.note)));
  }

  const service_reading& x_;
  const top_moment& now_;
  size_t rows_;
};

} // namespace

service_reading reading_from(const json& health, const json& workers, const json& ledger) {
  service_reading x;
  events::read_fields(health, x);
  std::erase(x.reasons, "");
  events::read_fields(field(workers, "workers"), x.workers);
  events::read_fields(field(workers, "processes"), x.processes);
  add_fork_server(field(workers, "fork_server"), x.processes);
  const auto& total = field(ledger, "total");
  for (const auto* key : {"published", "dead_lettered"}) {
    uint64_t jobs = 0;
    events::read_fields(field(total, key), jobs);
    x.answered += jobs;
  }
  // A linked worker comes below the worker that still serves its slot.
  std::stable_sort(x.workers.begin(), x.workers.end(), [](const auto& a, const auto& b) {
    return std::pair{a.slot.value_or(UINT32_MAX), a.memory.generation}
           < std::pair{b.slot.value_or(UINT32_MAX), b.memory.generation};
  });
  return x;
}

std::vector<std::string> draw_service(const service_reading& x, const top_moment& now,
                                      size_t columns, size_t rows, bool colours) {
  return view{x, now, columns, rows, colours}.draw();
}

std::string format_uptime(double seconds) {
  const auto s = static_cast<uint64_t>(std::clamp(seconds, 0., 1e12));
  const auto pair = [](uint64_t a, const char* unit, uint64_t b, const char* smaller) {
    return std::to_string(a) + unit + " " + std::to_string(b) + smaller;
  };
  return s >= 86'400  ? pair(s / 86'400, " d", s / 3600 % 24, " h")
         : s >= 3'600 ? pair(s / 3'600, " h", s / 60 % 60, " min")
         : s >= 60    ? pair(s / 60, " min", s % 60, " s")
                      : std::to_string(s) + " s";
}

} // namespace ziyu::cli
