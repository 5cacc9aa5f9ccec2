#include "cli/doctor/report.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "cli/command.hpp"
#include "cli/view/drawing.hpp"

#include <algorithm>
#include <cmath>

namespace ziyu::cli {

namespace {

using nlohmann::json;
using supervision::growth;

constexpr size_t shown_bad_images = 5, shown_sites = 3, shown_frames = 8;

std::string bytes(double x) { return format_bytes(static_cast<int64_t>(std::llround(x))); }
std::string bytes(uint64_t x) { return bytes_of(x); }

std::string ms(uint64_t us) { return format("%.1f", static_cast<double>(us) / 1000); }

std::string percent(double share) { return format("%.0f %%", share * 100); }

bool is_leak(growth x) { return x == growth::leak || x == growth::mixed; }

const supervision::slope& rate(const diagnosis& x) {
  const auto& v = x.verdict;
  return v.on_gpu && v.live.bytes_per_job <= 0 ? v.gpu
         : v.kind == growth::hoarding          ? v.private_memory
                                               : v.live;
}

json to_json(const supervision::slope& x) {
  return {{"bytes_per_job", x.bytes_per_job}, {"lower", x.lower}, {"upper", x.upper}};
}

const char* name_of(health x) {
  return x == health::healthy ? "healthy" : x == health::leaks ? "leaks" : "unjudged";
}

/// "at::foo (libtorch_cpu.so) foo.cpp:12"
std::string place(const supervision::code_location& x) {
  auto text = describe(x);
  if (!x.file.empty())
    text += " " + x.file.substr(x.file.rfind('/') + 1) + ":" + std::to_string(x.line);
  return printable(text);
}

class drawing : public page {
public:
  using page::page;

  void field(std::string_view name, const std::string& value) {
    line("  " + fit(name, 16) + value);
  }

  /// `text` broken at spaces.
  void paragraph(const std::string& indent, const std::string& text) {
    std::string now;
    for (size_t at = 0; at < text.size();) {
      const auto end = std::min(text.find(' ', at), text.size());
      const auto word = text.substr(at, end - at);
      if (!now.empty() && display_width(indent + now + " " + word) > columns()) {
        line(indent + now);
        now.clear();
      }
      now += (now.empty() ? "" : " ") + word;
      at = end + 1;
    }
    line(indent + now);
  }
};

void draw_explanation(const diagnosis& x, drawing& to) {
  if (!x.explanation) {
    if (!x.unexplained.empty())
      to.paragraph("  ", "no explanation: " + printable(x.unexplained));
    return;
  }
  const auto& e = *x.explanation;
  to.field("cause", std::string{to_string(e.cause)});
  to.field("sampled",
           "over " + std::to_string(x.sampled_jobs) + " jobs: growth " + bytes(e.growth_bytes));
  for (size_t i = 0; i < std::min(e.sites.size(), shown_sites); ++i) {
    const auto& site = e.sites[i];
    if (site.stack.empty())
      continue;
    to.field(i == 0 ? "sites" : "", fit(percent(site.share), 6, true) + "  " + bytes(site.bytes)
                                      + "  " + place(site.responsible()));
    const auto end = std::min(site.relevant.end, site.relevant.begin + shown_frames);
    for (auto k = site.relevant.begin; k < end; ++k)
      if (k > site.relevant.begin || site.stack[k] != site.responsible())
        to.line(std::string(26, ' ') + to.coloured(place(site.stack[k]), colour::grey));
  }
}

void draw_sizes(const diagnosis& x, drawing& to) {
  if (x.sizes.empty())
    return;
  to.title("Memory and time per image");
  auto row = [](const std::vector<std::string>& cells) {
    static constexpr size_t columns[] = {24, 12, 10, 10, 10, 9, 9};
    std::string text = " ";
    for (size_t i = 0; i < cells.size(); ++i)
      text += " " + fit(cells[i], columns[i], i > 0);
    return text;
  };
  to.line(to.coloured(row({"IMAGE", "SIZE", "DECODED", "PEAK", "OVER IDLE", "DECODE", "INFER"}),
                      colour::grey));
  for (const auto& r : x.sizes)
    to.line(row({printable(r.name), std::to_string(r.width) + "x" + std::to_string(r.height),
                 bytes(r.decoded_bytes), bytes(r.peak_private), bytes(r.over_idle()),
                 ms(r.decode_us) + " ms", ms(r.inference_us) + " ms"}));
  to.paragraph("  ", "Peak: private memory of a separate worker during that job, by the kernel's "
                     "count. Over idle: the peak less the memory of an idle worker; this includes "
                     "pages copied from the fork server. Times: medians.");
}

/// It is not known whether the peak of a worker that was not judged is its final one.
bool is_advisable(const diagnosis& x) {
  return !x.sizes.empty() && health_of(x) != health::unjudged;
}

void draw_advice(const diagnosis& x, drawing& to) {
  if (!is_advisable(x))
    return;
  to.title("Recommended for a container of " + bytes(x.container.limit) + " (" + x.container.source
           + ")");
  for (const auto& line : x.advice.formula)
    to.paragraph("  ", line);
  to.line();
  const auto lines = config_lines(x.advice);
  for (size_t at = 0; at < lines.size(); at = std::min(lines.find('\n', at), lines.size()) + 1)
    to.line("    " + lines.substr(at, lines.find('\n', at) - at));
  to.line();
  const auto& a = x.advice;
  const auto workers = std::to_string(std::max(a.slots, 1u))
                       + (a.slots > 1 ? " slots need" : " slot needs");
  to.paragraph("  ", (a.fits ? "Fits. " : "Does not fit. ") + workers + " a container of "
                       + config_bytes(a.needed) + " at least.");
}

json to_json(const std::vector<diagnosis::bad_image>& images) {
  auto result = json::array();
  for (const auto& x : images)
    result.push_back({{"image", x.name}, {"code", x.code}, {"message", x.message}});
  return result;
}

json to_json(const std::vector<diagnosis::size_row>& sizes) {
  auto result = json::array();
  for (const auto& x : sizes)
    result.push_back({{"image", x.name},
                      {"width", x.width},
                      {"height", x.height},
                      {"encoded_bytes", x.encoded_bytes},
                      {"decoded_bytes", x.decoded_bytes},
                      {"idle_private_bytes", x.idle_private},
                      {"peak_private_bytes", x.peak_private},
                      {"decode_us", x.decode_us},
                      {"preprocess_us", x.preprocess_us},
                      {"inference_us", x.inference_us}});
  return result;
}

json to_json(const std::vector<diagnosis::point>& series) {
  auto result = json::array();
  for (const auto& x : series)
    result.push_back({x.job, x.delta, x.live, x.private_bytes});
  return result;
}

json verdict_json(const diagnosis& x) {
  const auto& v = x.verdict;
  return {{"kind", to_string(v.kind)},
          {"reason", supervision::explain(v)},
          {"rate", to_json(rate(x))},
          {"live", to_json(v.live)},
          {"private", to_json(v.private_memory)},
          {"gpu", to_json(v.gpu)},
          {"input", to_string(v.input)},
          {"onset_job", v.onset},
          {"confirmed_at_job", x.confirmed_at},
          {"grown_bytes", v.grown_since_birth},
          {"ended_after_jobs", v.ended_jobs},
          {"ended_at_bytes", v.ended_bytes}};
}

json recommendation_json(const diagnosis& x) {
  const auto& a = x.advice;
  return {
    {"container_bytes", a.container},
    {"container_source", x.container.source},
    {"fits", a.fits},
    {"needed_container_bytes", a.needed},
    {"formula", a.formula},
    {"config",
     {{"workers", {{"slots", a.slots}, {"standbys", a.standbys}}},
      {"memory", {{"worker_budget_bytes", a.budget}, {"worker_hard_limit_bytes", a.hard_limit}}},
      {"jobs", {{"max_pixels", a.max_pixels}}}}}};
}

} // namespace

health health_of(const diagnosis& x) {
  if (is_leak(x.verdict.kind))
    return health::leaks;
  if (x.verdict.kind == growth::hoarding)
    return x.decisive_trim() && x.decisive_trim()->sufficed() ? health::healthy : health::leaks;
  const auto judged = x.verdict.kind == growth::healthy || x.verdict.kind == growth::caching;
  return judged && x.failure.empty() && x.failed_jobs < x.jobs ? health::healthy : health::unjudged;
}

int exit_code_of(const diagnosis& x) {
  switch (health_of(x)) {
  case health::healthy: return exit_ok;
  case health::leaks: return exit_leaking;
  case health::unjudged: break;
  }
  return exit_failed;
}

uint64_t settled_private(const diagnosis& x) {
  const auto hoards = x.verdict.kind == growth::hoarding || x.verdict.kind == growth::mixed;
  // A worker needs memory for a full cache as well.
  const auto has_ended = x.verdict.ended_jobs > 0 && health_of(x) == health::healthy;
  uint64_t most = 0;
  for (const auto& p : x.series) {
    if (hoards && x.confirmed_at > 0 && p.job > x.confirmed_at)
      break;
    const auto first = x.series.front().live;
    const auto gained = p.live > first && !has_ended ? p.live - first : 0;
    most = std::max(most, p.private_bytes - std::min(p.private_bytes, gained));
  }
  return most;
}

std::string summary(const diagnosis& x) {
  const auto count = std::to_string(x.jobs) + " jobs";
  const auto& v = x.verdict;
  const auto why = supervision::explain(x.verdict);
  switch (health_of(x)) {
  case health::healthy:
    if (x.verdict.kind == growth::hoarding)
      return "no leak, but hoarding in " + count + ", which a trim gives back: " + why;
    if (v.ended_jobs > 0)
      return "no leak in " + count + ": grows for " + std::to_string(v.ended_jobs)
             + " jobs, then flat for " + std::to_string(v.plateau_jobs) + ", "
             + bytes(v.ended_bytes) + " more than after the first job (a cache that is full)";
    return "no leak in " + count + ": " + why;
  case health::leaks:
    return (is_leak(x.verdict.kind) ? "leaks " : "hoards, and a trim does not help: ")
           + bytes(rate(x).bytes_per_job) + " per job: " + why;
  case health::unjudged: break;
  }
  if (!x.failure.empty())
    return "could not be judged: " + x.failure;
  if (x.failed_jobs == x.jobs)
    return "could not be judged: not one of " + count + " succeeded";
  if (v.kind == growth::growing)
    return "not decided within " + count + ": grows by " + bytes(rate(x).bytes_per_job)
           + " per job, " + bytes(v.grown_since_birth)
           + " so far; it leaks, or a cache is not full yet: try more jobs, or --cache BYTES if you"
             " know what it holds";
  return "could not be judged in " + count + ", try more: " + why;
}

json to_json(const diagnosis& x) {
  json result{
    {"schema", "ziyu.doctor.v1"},
    {"health", name_of(health_of(x))},
    {"exit_code", exit_code_of(x)},
    {"summary", summary(x)},
    {"model",
     {{"name", x.model.model_name},
      {"version", x.model.model_version},
      {"sha256", x.model.model_sha256},
      {"precision", x.model.precision},
      {"classes", x.model.classes},
      {"load_us", x.model.load_us}}},
    {"images", x.images},
    {"jobs", x.jobs},
    {"failed_jobs", x.failed_jobs},
    {"bad_images", to_json(x.bad_images)},
    {"verdict", verdict_json(x)},
    {"explanation", nullptr},
    {"trim", nullptr},
    {"sizes", to_json(x.sizes)},
    {"fork_server",
     {{"resident_bytes", x.fork_server.rss}, {"anonymous_bytes", x.fork_server.anonymous}}},
    {"worker", {{"idle_private_bytes", x.worker_idle}, {"peak_private_bytes", x.worker_peak}}},
    {"recommendation", nullptr},
    {"series",
     {{"columns", {"job", "delta_bytes", "live_bytes", "private_bytes"}},
      {"rows", to_json(x.series)}}}};
  if (x.explanation) {
    result["explanation"] = supervision::to_json(*x.explanation);
    result["explanation"].erase("flame"); // --flame
  } else if (!x.unexplained.empty()) {
    result["explanation"] = {{"error", x.unexplained}};
  }
  if (x.trim)
    result["trim"] = {{"fresh_bytes", x.trim->fresh},
                      {"before_bytes", x.trim->before},
                      {"after_bytes", x.trim->after},
                      {"sufficed", x.trim->sufficed()}};
  if (is_advisable(x))
    result["recommendation"] = recommendation_json(x);
  if (!x.failure.empty())
    result["failure"] = x.failure;
  return result;
}

std::vector<std::string> draw(const diagnosis& x, size_t width, bool colours) {
  drawing to{width, colours};
  const auto how = health_of(x);
  const auto verdict = how == health::healthy ? to.coloured("HEALTHY", colour::green)
                       : how == health::leaks ? to.coloured("LEAKS", colour::red)
                                              : to.coloured("NOT JUDGED", colour::yellow);
  to.line(verdict + "  " + printable(x.model.model_name) + " version "
          + printable(x.model.model_version) + ", " + printable(x.model.precision) + ", "
          + std::to_string(x.model.classes) + " classes");
  to.paragraph("  ", printable(summary(x)));
  to.line();
  to.field("images", printable(x.images));
  to.field("jobs", std::to_string(x.jobs) + ", of which failed: " + std::to_string(x.failed_jobs));
  for (size_t i = 0; i < std::min(x.bad_images.size(), shown_bad_images); ++i)
    to.field(i == 0 ? "bad images" : "",
             printable(x.bad_images[i].name + ": " + x.bad_images[i].message));
  if (x.bad_images.size() > shown_bad_images)
    to.field("", "… " + std::to_string(x.bad_images.size() - shown_bad_images)
                   + " more; --json lists them");
  if (how == health::leaks) {
    to.field("per job", bytes(rate(x).bytes_per_job) + " (" + bytes(rate(x).lower) + " to "
                          + bytes(rate(x).upper) + ")");
    if (x.confirmed_at > 0)
      to.field("confirmed", "after job " + std::to_string(x.confirmed_at));
  }
  draw_explanation(x, to);
  if (how == health::leaks && !x.failure.empty())
    to.field("failure", printable(x.failure));
  if (x.trim)
    to.field("trim", "private memory " + bytes(x.trim->before) + " → " + bytes(x.trim->after)
                       + (x.verdict.kind != growth::hoarding ? "; no hoarding"
                          : x.decisive_trim()->sufficed()    ? "; hoarding, given back"
                                                             : "; hoarding, not given back"));
  if (x.fork_server.rss > 0)
    to.field("fork server", bytes(x.fork_server.rss) + ", shared by all workers");
  if (x.worker_peak > 0)
    to.field("worker",
             bytes(x.worker_idle) + " private when idle, " + bytes(x.worker_peak) + " at most");
  draw_sizes(x, to);
  draw_advice(x, to);
  return to.take();
}

chart memory_chart(const diagnosis& x) {
  chart result;
  result.title = x.model.model_name + " " + x.model.model_version + ": "
                 + (health_of(x) == health::leaks ? bytes(rate(x).bytes_per_job) + " per job leak"
                                                  : std::string{name_of(health_of(x))});
  result.x_label = "jobs";
  result.y_label = "MiB";
  chart_series live{"live", "#1d4ed8", false, {}}, owned{"private", "#0f766e", false, {}};
  for (const auto& p : x.series) {
    live.points.emplace_back(p.job, static_cast<double>(p.live) / 0x1p20);
    owned.points.emplace_back(p.job, static_cast<double>(p.private_bytes) / 0x1p20);
    if (p.job == x.confirmed_at) {
      result.marks.emplace_back(p.job, static_cast<double>(p.live) / 0x1p20);
      result.marks_name = "confirmed";
    }
  }
  result.series = {std::move(live), std::move(owned)};
  return result;
}

} // namespace ziyu::cli
