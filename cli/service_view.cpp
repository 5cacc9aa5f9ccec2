#include "cli/service_view.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "cli/json_fields.hpp"
#include "messaging/events/evidence.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::cli {

using nlohmann::json;

namespace {

constexpr size_t wide_columns = 150;
/// Of a worker's line: up to its private memory, its slope, its forecast, its verdict.
constexpr size_t slope_columns = 34, forecast_columns = 20, verdict_columns = 11;

worker_reading worker_from(const json& x) {
  worker_reading w;
  if (field(x, "slot").is_number())
    w.slot = static_cast<uint32_t>(count_in(x, "slot"));
  w.generation = count_in(x, "generation");
  w.jobs = count_in(x, "jobs");
  w.pid = whole_in(x, "pid");
  w.state = text_in(x, "state");
  if (w.state == "serving" && field(x, "held") == true)
    w.state = "held";
  w.verdict = text_in(x, "verdict");
  w.last_delta_bytes = whole_in(x, "last_delta_bytes");
  w.live_bytes = whole_in(x, "live_bytes");
  w.private_bytes = whole_in(x, "private_bytes");
  w.budget_bytes = whole_in(x, "budget_bytes");
  const auto& slope = field(x, w.verdict == "hoarding" ? "private_slope" : "live_slope");
  w.slope = real_in(slope, "bytes_per_job");
  w.lower = real_in(slope, "lower");
  w.upper = real_in(slope, "upper");
  if (field(x, "jobs_left").is_number())
    w.jobs_left = count_in(x, "jobs_left");
  if (field(x, "jobs_left_earliest").is_number())
    w.jobs_left_earliest = count_in(x, "jobs_left_earliest");
  events::series series;
  series.read(field(x, "series"));
  for (const auto& job : series.points)
    w.history.push_back(static_cast<double>(job.private_bytes));
  return w;
}

std::vector<process_reading> processes_of(const json& workers) {
  std::vector<process_reading> result;
  if (const auto& list = field(workers, "processes"); list.is_array())
    for (const auto& x : list) {
      process_reading p{text_in(x, "name"), text_in(x, "verdict"), whole_in(x, "pid"), {}};
      if (field(x, "private_bytes").is_number())
        p.private_bytes = whole_in(x, "private_bytes");
      result.push_back(std::move(p));
    }
  const auto& server = field(workers, "fork_server");
  const auto told = std::any_of(result.begin(), result.end(),
                                [](const auto& x) { return x.name == "fork_server"; });
  if (server.is_object() && !told)
    result.push_back({"fork_server",
                      field(server, "ready") == true ? "ready"
                      : field(server, "up") == true  ? "loading"
                                                     : "down",
                      whole_in(server, "pid"),
                      {}});
  return result;
}

/// A name with its version, from {"name", "version"} or a text.
std::string model_of(const json& x) {
  if (x.is_string())
    return x.get<std::string>();
  const auto name = text_in(x, "name"), version = text_in(x, "version");
  return name.empty() || version.empty() ? name : name + " " + version;
}

colour verdict_colour(const std::string& x) {
  return x == "healthy"                                   ? colour::green
         : x == "suspected" || x == "growing"             ? colour::yellow
         : x == "leak" || x == "hoarding" || x == "mixed" ? colour::red
                                                          : colour::grey;
}

std::string slope_text(const worker_reading& w) {
  auto show = [](double x) { return signed_bytes(std::llround(x)); };
  const auto value = show(w.slope), lower = show(w.lower), upper = show(w.upper);
  return value + "/job" + (lower == value && upper == value ? "" : " " + lower + "…" + upper);
}

std::string forecast_text(const worker_reading& w) {
  if (!w.jobs_left)
    return "";
  return counted(*w.jobs_left, "job") + " left"
         + (w.jobs_left_earliest && *w.jobs_left_earliest < *w.jobs_left
              ? " (≥" + std::to_string(*w.jobs_left_earliest) + ")"
              : "");
}

class view {
public:
  view(const service_reading& x, const top_moment& now, size_t columns, size_t rows, bool colours)
    : x_(x), now_(now), columns_(columns), rows_(rows), colours_(colours) {}

  std::vector<std::string> draw() {
    head();
    workers();
    others();
    return std::move(lines_);
  }

private:
  styled_line start() const { return {columns_, colours_}; }
  void put(styled_line x) { lines_.push_back(x.take()); }

  void head() {
    auto first = start();
    first.add("Ziyu 自愈", colour::bold).add("  " + now_.url, colour::cyan);
    if (!x_.model.empty())
      first.add("  model " + x_.model);
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
    const auto share = x_.memory_limit_bytes > 0 ? static_cast<double>(x_.memory_used_bytes)
                                                     / static_cast<double>(x_.memory_limit_bytes)
                                                 : 0.;
    auto memory = start();
    memory.cell("memory", 9, colour::grey);
    memory.bar(share, std::min<size_t>(30, memory.room() / 2), level_of(share / .8));
    put(
      std::move(memory.add(format(" %.1f %% of ", share * 100) + format_bytes(x_.memory_limit_bytes)
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

  bool wide() const { return columns_ >= wide_columns; }

  void workers() {
    lines_.emplace_back();
    const auto slots = static_cast<size_t>(std::count_if(
      x_.workers.begin(), x_.workers.end(), [](const auto& w) { return w.slot.has_value(); }));
    const auto fixed = lines_.size() + 1 + std::max<size_t>(1, x_.workers.size())
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
        put(std::move(row.add(w.slot ? w.verdict : "", verdict_colour(w.verdict))));
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
           : columns_ > taken + verdict_columns + 4
             ? std::min<size_t>(20, columns_ - taken - verdict_columns)
             : 4;
  }

  styled_line worker_line(const worker_reading& w) const {
    auto row = start();
    const auto share = w.budget_bytes > 0 ? static_cast<double>(w.private_bytes)
                                              / static_cast<double>(w.budget_bytes)
                                          : 0.;
    const auto delta = w.last_delta_bytes;
    row
      .cell(w.slot ? std::to_string(*w.slot) + "." + std::to_string(w.generation) : "-", 7,
            colour::bold)
      .cell(w.pid > 0 ? std::to_string(w.pid) : "-", 8, {}, true)
      .cell(" " + w.state, 9, w.state == "serving" ? colour::green : colour::cyan)
      .cell(w.slot ? std::to_string(w.jobs) : "", 7, {}, true)
      .cell(w.slot ? signed_bytes(delta) : "", 10, delta > 0 ? colour::yellow : colour::grey, true)
      .cell(w.live_bytes != 0 ? format_bytes(w.live_bytes) : "", 10, {}, true)
      .cell(format_bytes(w.private_bytes), 10, level_of(share), true)
      .add(" ")
      .bar(share, bar_columns(), level_of(share))
      .add(" ");
    return row;
  }

  /// Slope, forecast, verdict (in so many columns, if any), and history in the remaining columns.
  styled_line& add_growth(styled_line& row, const worker_reading& w, size_t verdict) const {
    if (!w.slot)
      return row;
    row.cell(slope_text(w), slope_columns, w.slope > 0 ? colour::yellow : colour::grey)
      .cell(forecast_text(w), forecast_columns, colour::red);
    if (verdict > 0)
      row.cell(w.verdict, verdict, verdict_colour(w.verdict));
    const auto cells = std::min<size_t>(64, row.room());
    return row.levels(w.history, cells, static_cast<double>(std::max<int64_t>(1, w.budget_bytes)));
  }

  void others() {
    if (x_.processes.empty())
      return;
    lines_.emplace_back();
    for (const auto& p : x_.processes)
      put(start()
            .cell(p.name == "fork_server" ? "fork server" : p.name, 14, colour::grey)
            .cell(p.pid > 0 ? std::to_string(p.pid) : "-", 8)
            .cell(p.private_bytes ? format_bytes(*p.private_bytes) : "", 10, {}, true)
            .add("  ")
            .add(p.note, p.note == "ready" ? colour::green : verdict_colour(p.note)));
  }

  const service_reading& x_;
  const top_moment& now_;
  size_t columns_, rows_;
  bool colours_;
  std::vector<std::string> lines_;
};

} // namespace

service_reading reading_from(const json& health, const json& workers, const json& ledger) {
  service_reading x;
  x.model = model_of(field(health, "model"));
  if (field(health, "uptime_s").is_number())
    x.uptime_s = real_in(health, "uptime_s");
  x.status = text_in(health, "status");
  x.breaker = text_in(health, "breaker");
  x.breaker_reason = text_in(health, "breaker_reason");
  x.memory_source = text_in(health, "memory_source");
  x.memory_used_bytes = whole_in(health, "memory_used_bytes");
  x.memory_limit_bytes = whole_in(health, "memory_limit_bytes");
  x.consuming = field(health, "consuming") == true;
  x.kafka = text_in(health, "kafka");
  if (field(health, "lag_records").is_number())
    x.lag_records = count_in(health, "lag_records");
  if (field(health, "oldest_unfinished_s").is_number())
    x.oldest_unfinished_s = real_in(health, "oldest_unfinished_s");
  if (const auto& list = field(health, "reasons"); list.is_array())
    for (const auto& reason : list)
      if (reason.is_string())
        x.reasons.push_back(reason.get<std::string>());
  x.waiting = count_in(health, "waiting");
  x.running = count_in(health, "running");
  x.results = count_in(health, "results");
  x.dead_letters = count_in(health, "dead_letters");
  x.slots = count_in(health, "slots");
  x.slots_up = count_in(health, "slots_up");
  x.standbys = count_in(health, "standbys");
  x.replacements = count_in(health, "replacements");
  const auto& total = field(ledger, "total");
  x.answered = count_in(total, "published") + count_in(total, "dead_lettered");
  if (const auto& list = field(workers, "workers"); list.is_array())
    for (const auto& w : list)
      x.workers.push_back(worker_from(w));
  // A linked worker comes below the worker that still serves its slot.
  std::stable_sort(x.workers.begin(), x.workers.end(), [](const auto& a, const auto& b) {
    return std::pair{a.slot.value_or(UINT32_MAX), a.generation}
           < std::pair{b.slot.value_or(UINT32_MAX), b.generation};
  });
  x.processes = processes_of(workers);
  return x;
}

std::vector<std::string> draw_service(const service_reading& x, const top_moment& now,
                                      size_t columns, size_t rows, bool colours) {
  auto lines = view{x, now, columns, rows, colours}.draw();
  if (rows > 0 && lines.size() > rows)
    lines.resize(rows);
  return lines;
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
