#include "judge_charts.hpp"

#include "cli/view/svg.hpp"
#include "judge_rules.hpp"
#include "judge_traces.hpp"

#include "base/bytes.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <optional>

namespace ziyu::bench {

namespace {

using cli::svg::number;
using supervision::leak_judge;

constexpr double kib = 1024, mib = 1024 * 1024;
constexpr uint64_t parts = 1u << 20; ///< Seeds are far apart.

constexpr auto ink = "#1b1f24", faint = "#57606a", grid = "#e3e6ea", blue = "#0550ae",
               red = "#b42318", grey = "#8c959f";

std::string text(double x, double y, const std::string& words, const std::string& more) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + more + ">"
         + cli::svg::escape(words) + "</text>\n";
}

std::string line(double x1, double y1, double x2, double y2, const std::string& more) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\""
         + number(y2) + "\" " + more + "/>\n";
}

std::string page(double width, double height, const std::string& content) {
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " "
         + number(height) + "\" width=\"" + number(width) + "\" height=\"" + number(height)
         + "\" font-family=\"system-ui, 'Noto Sans', sans-serif\" font-size=\"11\">\n"
           "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n"
         + content + "</svg>\n";
}

struct point {
  double x, y;
};

std::string polyline(const std::vector<point>& points, const std::string& more) {
  std::string list;
  for (const auto& p : points)
    list += (list.empty() ? "" : " ") + number(p.x) + "," + number(p.y);
  return "<polyline fill=\"none\" stroke-linejoin=\"round\" points=\"" + list + "\" " + more
         + "/>\n";
}

/// The first job with a confirmed verdict, and the verdict; 0: none.
std::pair<uint64_t, supervision::growth> judged(const trace& t,
                                                const leak_judge::settings& settings) {
  leak_judge judge{settings};
  for (size_t i = 0; i < t.jobs.size(); ++i)
    if (const auto x = judge.observe(t.jobs[i].memory); is_confirmed(x.kind))
      return {i + 1, x.kind};
  return {0, supervision::growth::healthy};
}

/// One trace of each kind.
std::string kinds_chart(uint64_t seed, uint64_t budget, const leak_judge::settings& settings) {
  constexpr double columns = 4, panel = 236, plot_width = 204, plot_height = 76, row = 146,
                   top = 58;
  auto kinds = healthy_kinds();
  for (auto list : {growing_kinds(), beyond_kinds()})
    kinds.insert(kinds.end(), list.begin(), list.end());
  std::string out = text(16, 26, "What the judge makes of one trace of each kind",
                         std::string{"font-size=\"15\" font-weight=\"600\" fill=\""} + ink + "\"");
  out += text(16, 44,
              "bytes above the lowest, by job: live (private where hoarded); dashed: the growth "
              "begins; red: the verdict",
              std::string{"fill=\""} + faint + "\"");
  double n = 0;
  for (const auto& kind : kinds) {
    const auto hoards = kind == "hoarding";
    const auto t = generate(kind, hoards ? mib : 64 * kib, budget,
                            seed * parts + static_cast<uint64_t>(n) + 1);
    const auto [alarm, word] = judged(t, settings);
    // Ends some time after the interesting part.
    const auto shown = std::min<uint64_t>(t.jobs.size(), alarm > 0 ? alarm + alarm / 4 + 20 : 800);
    auto value = [&](uint64_t job) {
      const auto& m = t.jobs[job - 1].memory;
      return static_cast<double>(hoards ? m.private_bytes : m.live);
    };
    auto low = value(1), high = low;
    for (uint64_t job = 1; job <= shown; ++job) {
      low = std::min(low, value(job));
      high = std::max(high, value(job));
    }
    const auto left = 16 + panel * std::fmod(n, columns),
               floor = top + row * std::floor(n / columns) + 22 + plot_height;
    auto px = [&](double job) {
      return left + (job - 1) / static_cast<double>(std::max<uint64_t>(shown, 2) - 1) * plot_width;
    };
    auto py = [&](double y) { return floor - (y - low) / std::max(high - low, 1.) * plot_height; };
    out += text(left, floor - plot_height - 8, kind,
                std::string{"font-weight=\"600\" fill=\""} + ink + "\"");
    out += line(left, floor, left + plot_width, floor, std::string{"stroke=\""} + grid + "\"");
    out += text(left + plot_width, floor - plot_height - 8,
                "+" + format_bytes(static_cast<int64_t>(high - low)),
                std::string{"text-anchor=\"end\" fill=\""} + faint + "\"");
    // A bounded number of points: the lowest and the highest of each stretch.
    std::vector<point> points;
    const auto stretch = std::max<uint64_t>(1, shown / 100);
    for (uint64_t from = 1; from <= shown; from += stretch) {
      auto least = from, most = from;
      for (auto job = from; job < std::min(from + stretch, shown + 1); ++job) {
        least = value(job) < value(least) ? job : least;
        most = value(job) > value(most) ? job : most;
      }
      for (auto job : {std::min(least, most), std::max(least, most)})
        if (points.empty() || least != most || job == most)
          points.push_back({px(static_cast<double>(job)), py(value(job))});
    }
    out += polyline(points, std::string{"stroke-width=\"1.4\" stroke=\""} + blue + "\"");
    auto bar = [&](uint64_t job, const std::string& more) {
      const auto x = px(static_cast<double>(job));
      out += line(x, floor, x, floor - plot_height, more);
    };
    if (t.onset > 0 && t.onset <= shown)
      bar(t.onset, std::string{"stroke-dasharray=\"3 3\" stroke=\""} + grey + "\"");
    std::string says = "no verdict in " + std::to_string(t.jobs.size()) + " jobs";
    if (alarm > 0) {
      bar(alarm, std::string{"stroke-width=\"1.6\" stroke=\""} + red + "\"");
      says = std::string{to_string(word)} + " at job " + std::to_string(alarm);
      if (t.onset > 0)
        says += ", after " + std::to_string(alarm - t.onset + 1);
    }
    out += text(left, floor + 15, says, std::string{"fill=\""} + (alarm > 0 ? red : faint) + "\"");
    ++n;
  }
  return page(16 + columns * panel, top + std::ceil(n / columns) * row, out);
}

/// Median delays; none where fewer than half are found.
std::string delay_chart(uint64_t seed, uint64_t budget, const leak_judge::settings& settings) {
  constexpr double sizes[] = {kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib};
  constexpr double width = 860, left = 64, right = 140, top = 64, height = 300;
  constexpr double most = 2000;
  struct row {
    std::string name, colour;
    std::vector<std::optional<double>> medians;
  };
  const auto others = peers(budget);
  std::vector<row> rows{{"ziyu", blue, {}}};
  const char* colours[] = {"#9a6700", "#8250df", "#1a7f37", "#bf3989", "#57606a"};
  for (size_t i = 0; i < others.size(); ++i)
    rows.push_back({others[i].name, colours[i % std::size(colours)], {}});
  uint64_t number_of_trace = 0;
  for (const auto size : sizes) {
    std::vector<std::vector<double>> delays(rows.size());
    size_t traces = 0;
    for (const char* kind : {"leak_steady", "leak_varying_sizes", "leak_with_spikes"})
      for (int i = 0; i < 15; ++i) {
        const auto t = generate(kind, size, budget, (seed + 1) * parts + ++number_of_trace);
        ++traces;
        for (size_t r = 0; r < rows.size(); ++r) {
          uint64_t alarm = 0;
          if (r == 0) {
            alarm = judged(t, settings).first;
          } else {
            const auto rule = others[r - 1].make(t);
            for (size_t job = 0; job < t.jobs.size() && alarm == 0; ++job)
              if (rule->observe(t.jobs[job]))
                alarm = job + 1;
          }
          if (alarm >= t.onset)
            delays[r].push_back(static_cast<double>(alarm - t.onset + 1));
        }
      }
    for (size_t r = 0; r < rows.size(); ++r) {
      auto& list = delays[r];
      std::sort(list.begin(), list.end());
      rows[r].medians.push_back(list.size() * 2 > traces ? std::optional{list[list.size() / 2]}
                                                         : std::nullopt);
    }
  }
  const auto floor = top + height;
  auto px = [&](double size) {
    return left + std::log(size / kib) / std::log(4 * mib / kib) * (width - left - right);
  };
  auto py = [&](double jobs) { return floor - std::log(jobs) / std::log(most) * height; };
  std::string out = text(left, 28, "Jobs from a leak's onset until the worker is to be replaced",
                         std::string{"font-size=\"15\" font-weight=\"600\" fill=\""} + ink + "\"");
  out += text(left, 46, "median; none where fewer than half are found at or after the onset",
              std::string{"fill=\""} + faint + "\"");
  for (const auto jobs : {1., 4., 16., 64., 256., 1024.}) {
    out += line(left, py(jobs), width - right, py(jobs), std::string{"stroke=\""} + grid + "\"");
    out += text(left - 8, py(jobs) + 4, number(jobs),
                std::string{"text-anchor=\"end\" fill=\""} + faint + "\"");
  }
  for (const auto size : sizes)
    out += text(px(size), floor + 18,
                size < mib ? number(size / kib) + " KiB" : number(size / mib) + " MiB",
                std::string{"text-anchor=\"middle\" fill=\""} + faint + "\"");
  out += text((left + width - right) / 2, floor + 38, "leaked per job",
              std::string{"text-anchor=\"middle\" fill=\""} + faint + "\"");
  double lowest_label = -1e9;
  std::vector<std::pair<double, const row*>> labels;
  for (const auto& r : rows) {
    std::vector<point> points;
    for (size_t i = 0; i < std::size(sizes); ++i)
      if (r.medians[i])
        points.push_back({px(sizes[i]), py(*r.medians[i])});
    if (points.empty())
      continue;
    out += polyline(points, "stroke-width=\"" + std::string{r.name == "ziyu" ? "2.6" : "1.6"}
                              + "\" stroke=\"" + r.colour + "\"");
    for (const auto& p : points)
      out += "<circle cx=\"" + number(p.x) + "\" cy=\"" + number(p.y) + "\" r=\"2.6\" fill=\""
             + r.colour + "\"/>\n";
    labels.emplace_back(points.back().y, &r);
  }
  std::sort(labels.begin(), labels.end());
  for (auto& [y, r] : labels) { // from the top, without overlaps
    lowest_label = std::max(y + 4, lowest_label + 14);
    out += text(width - right + 10, lowest_label, r->name,
                "font-weight=\"600\" fill=\"" + r->colour + "\"");
  }
  return page(width, floor + 54, out);
}

} // namespace

bool write_charts(const std::filesystem::path& folder, uint64_t seed, uint64_t budget,
                  const leak_judge::settings& settings) {
  auto write = [&](const char* name, const std::string& content) {
    std::ofstream out{folder / name, std::ios::binary};
    out << content;
    return out.flush().good();
  };
  return write("judge_kinds.svg", kinds_chart(seed, budget, settings))
         && write("judge_delay.svg", delay_chart(seed, budget, settings));
}

} // namespace ziyu::bench
