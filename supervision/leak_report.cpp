#include "supervision/leak_report.hpp"

#include "messaging/events/event.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <unordered_map>

namespace ziyu::supervision {

namespace {

using nlohmann::json;

constexpr double dominant = 0.8, significant = 0.1;
/// Stacks that get names, the largest changes first; smaller ones are noise.
constexpr size_t max_named = 4'000;
constexpr size_t max_flame_bytes = 256 * 1024;
/// Bound for the stacks whose cause a report tells.
constexpr size_t max_stack_causes = 4'000;
constexpr double told_growth = 0.99;

/// A function in the tree of calls.
struct node {
  std::map<std::string, std::unique_ptr<node>> callees;
  const node* caller = nullptr;
  const code_location* where = nullptr; ///< Null for the root.
  double bytes = 0, objects = 0;
  uint32_t threads = 0;
  const named_growth* largest = nullptr;
  size_t depth = 0; ///< 0 for the root.

  void add(const named_growth& x) {
    bytes += x.bytes;
    objects += x.objects;
    threads = std::max(threads, x.threads);
    if (largest == nullptr || x.bytes > largest->bytes)
      largest = &x;
  }
};

void insert(node& root, const named_growth& x) {
  auto at = &root;
  at->add(x);
  for (auto frame = x.stack.rbegin(); frame != x.stack.rend(); ++frame) {
    auto& next = at->callees[frame->function + '\n' + frame->library];
    if (!next) {
      next = std::make_unique<node>();
      next->caller = at;
      next->where = &*frame;
      next->depth = at->depth + 1;
    }
    at = next.get();
    at->add(x);
  }
}

/// Our own code, whose calls become separate sites.
bool is_ours(const node& x) {
  if (x.where == nullptr)
    return true;
  const auto name = short_name(x.where->function);
  // Loading a model is one site, however many pieces it allocates.
  if (name.ends_with("::load"))
    return false;
  return name.starts_with("ziyu::") || role_of(*x.where) == frame_role::loop;
}

leak_site make_site(const node& x, double total) {
  leak_site site;
  site.bytes = x.bytes;
  site.objects = x.objects;
  site.share = total > 0 ? x.bytes / total : 0;
  site.threads = x.threads;
  site.stack = x.largest->stack;
  site.relevant = relevant_part(site.stack);
  site.common = site.stack.size() - std::min(std::max<size_t>(x.depth, 1), site.stack.size());
  site.cause = cause_of(
    call_stack{site.stack.begin() + static_cast<std::ptrdiff_t>(site.common), site.stack.end()},
    site.threads);
  // The common part may end before any telling frame; then the largest stack decides.
  if (site.cause == leak_cause::native_allocation || site.cause == leak_cause::unknown)
    site.cause = cause_of(site.stack, site.threads);
  return site;
}

void collect(const node& x, double total, std::vector<leak_site>& sites) {
  const node* best = nullptr;
  std::vector<const node*> matter;
  double covered = 0;
  for (const auto& [name, callee] : x.callees) {
    if (best == nullptr || callee->bytes > best->bytes)
      best = callee.get();
    if (callee->bytes >= significant * total) {
      matter.push_back(callee.get());
      covered += callee->bytes;
    }
  }
  if (is_ours(x) && !matter.empty() && covered >= dominant * x.bytes) {
    for (auto callee : matter)
      collect(*callee, total, sites);
  } else if (best != nullptr && best->bytes >= dominant * x.bytes) {
    collect(*best, total, sites);
  } else {
    sites.push_back(make_site(x, total));
  }
}

events::frame frame_of(const code_location& x) {
  events::frame result{x.function, x.library, {}, {}};
  if (!x.file.empty()) {
    result.file = x.file;
    result.line = x.line;
  }
  return result;
}

std::vector<events::frame> frames_of(const call_stack& x, stack_range part) {
  std::vector<events::frame> result;
  for (auto i = part.begin; i < part.end; ++i)
    result.push_back(frame_of(x[i]));
  return result;
}

/// `growth` has the largest first, `named` the same in the same order.
std::vector<stack_cause> causes_of(const std::vector<stack_growth>& growth,
                                   const std::vector<named_growth>& named) {
  double all = 0, told = 0;
  for (const auto& x : growth)
    all += std::max(x.bytes, 0.);
  std::vector<stack_cause> result;
  for (size_t i = 0; i < growth.size() && result.size() < max_stack_causes; ++i) {
    if (told >= told_growth * all)
      break;
    if (growth[i].bytes <= 0)
      continue;
    told += growth[i].bytes;
    result.push_back(
      {fingerprint(growth[i].addresses), cause_of(named[i].stack, growth[i].threads)});
  }
  return result;
}

code_location location_from(const json& x) {
  return {x.at("function"), x.at("library"), x.value("file", ""), x.value("line", 0u)};
}

} // namespace

uint64_t fingerprint(const std::vector<uint64_t>& addresses) {
  uint64_t hash = 0xcbf29ce484222325;
  for (auto address : addresses)
    for (auto i = 0; i < 8; ++i, address >>= 8)
      hash = (hash ^ (address & 0xff)) * 0x100000001b3;
  return hash;
}

std::vector<named_growth> name_stacks(const std::vector<stack_growth>& stacks,
                                      std::vector<mapping> mappings) {
  std::vector<uint64_t> addresses;
  for (const auto& x : stacks)
    addresses.insert(addresses.end(), x.addresses.begin(), x.addresses.end());
  std::sort(addresses.begin(), addresses.end());
  addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
  const auto names = symbolizer{std::move(mappings)}.resolve(addresses);
  std::vector<named_growth> result;
  result.reserve(stacks.size());
  for (const auto& x : stacks) {
    auto& named = result.emplace_back();
    named.bytes = x.bytes;
    named.objects = x.objects;
    named.threads = x.threads;
    for (auto address : x.addresses) {
      const auto i = std::lower_bound(addresses.begin(), addresses.end(), address)
                     - addresses.begin();
      const auto& locations = names[static_cast<size_t>(i)];
      named.stack.insert(named.stack.end(), locations.begin(), locations.end());
    }
  }
  return result;
}

std::vector<leak_site> find_sites(const std::vector<named_growth>& stacks, double total,
                                  size_t max_sites) {
  std::vector<leak_site> sites;
  node root;
  for (const auto& x : stacks)
    if (!x.stack.empty())
      insert(root, x);
  if (total <= 0 || root.largest == nullptr || root.largest->bytes <= 0)
    return sites;
  collect(root, total, sites);
  std::stable_sort(sites.begin(), sites.end(),
                   [](const leak_site& a, const leak_site& b) { return a.bytes > b.bytes; });
  if (sites.size() > max_sites)
    sites.resize(max_sites);
  return sites;
}

std::string write_folded(const std::vector<named_growth>& stacks) {
  std::map<std::string, double> lines;
  for (const auto& x : stacks)
    if (!x.stack.empty())
      lines[folded(x.stack)] += x.bytes;
  std::vector<std::pair<double, const std::string*>> sorted;
  for (const auto& [line, bytes] : lines)
    if (bytes >= 1)
      sorted.emplace_back(bytes, &line);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string result;
  for (const auto& [bytes, line] : sorted) {
    const auto more = *line + ' ' + std::to_string(std::llround(bytes)) + '\n';
    if (result.size() + more.size() > max_flame_bytes)
      break;
    result += more;
  }
  return result;
}

expected<leak_report> explain_leak(const leak_request& x) {
  auto after = parse_heap_profile(x.after);
  if (!after)
    return tl::unexpected(after.error());
  heap_profile before;
  if (!x.before.empty()) {
    auto parsed = parse_heap_profile(x.before);
    if (!parsed)
      return tl::unexpected(parsed.error());
    before = std::move(*parsed);
  }
  auto growth = diff(before, *after);
  if (!growth)
    return tl::unexpected(growth.error());
  leak_report report;
  report.sample_bytes = after->sample_bytes;
  report.jobs = x.jobs;
  const auto jobs_per_sampled =
    x.sampled_jobs > 0 ? static_cast<double>(x.jobs) / static_cast<double>(x.sampled_jobs) : 1;
  for (auto& stack : *growth) {
    stack.bytes *= jobs_per_sampled;
    stack.objects *= jobs_per_sampled;
    report.estimated_bytes += stack.bytes;
  }
  std::stable_sort(growth->begin(), growth->end(),
                   [](const stack_growth& a, const stack_growth& b) {
                     return std::abs(a.bytes) > std::abs(b.bytes);
                   });
  if (growth->size() > max_named)
    growth->resize(max_named);
  // Sampling knows the shares to some percent, and the allocator's counters know the sum
  // exactly. A gross contradiction means that something was not sampled: then neither corrects
  // the other.
  auto scale = 1.0;
  const auto exact = static_cast<double>(x.live_growth);
  if (exact > 0 && report.estimated_bytes > exact / 5 && report.estimated_bytes < 5 * exact) {
    scale = exact / report.estimated_bytes;
    report.calibrated = true;
  }
  report.growth_bytes = report.calibrated ? exact : report.estimated_bytes;
  for (auto& stack : *growth) {
    stack.bytes *= scale;
    stack.objects *= scale;
  }
  auto mappings = x.maps.empty() ? std::move(after->mappings) : parse_maps(x.maps);
  const auto named = name_stacks(*growth, std::move(mappings));
  report.sites = find_sites(named, report.growth_bytes, x.max_sites);
  report.cause = name_cause(x.evidence, report.sites);
  report.flame = write_folded(named);
  report.stacks = causes_of(*growth, named);
  return report;
}

std::vector<events::site> reported_sites(const leak_report& x) {
  std::vector<events::site> result;
  for (const auto& site : x.sites)
    result.push_back({.bytes = std::llround(site.bytes),
                      .objects = std::llround(site.objects),
                      .share = site.share,
                      .threads = site.threads,
                      .cause = std::string{to_string(site.cause)},
                      .responsible = frame_of(site.responsible()),
                      .common = site.common,
                      .stack = frames_of(site.stack, site.relevant),
                      .full_stack = frames_of(site.stack, {0, site.stack.size()})});
  return result;
}

json to_json(const leak_report& x) {
  auto stacks = json::array();
  for (const auto& stack : x.stacks)
    stacks.push_back({stack.fingerprint, to_string(stack.cause)});
  return {{"cause", to_string(x.cause)},
          {"growth_bytes", std::llround(x.growth_bytes)},
          {"estimated_bytes", std::llround(x.estimated_bytes)},
          {"calibrated", x.calibrated},
          {"sample_bytes", x.sample_bytes},
          {"jobs", x.jobs},
          {"sites", events::to_json(reported_sites(x))},
          {"flame", x.flame},
          {"stacks", std::move(stacks)}};
}

expected<leak_report> leak_report_from_json(const json& x) {
  try {
    leak_report report;
    report.cause = parse_leak_cause(x.at("cause").get<std::string>()).value_or(leak_cause::unknown);
    report.growth_bytes = x.at("growth_bytes");
    report.estimated_bytes = x.at("estimated_bytes");
    report.calibrated = x.at("calibrated");
    report.sample_bytes = x.at("sample_bytes");
    report.jobs = x.at("jobs");
    report.flame = x.at("flame");
    for (const auto& item : x.at("stacks"))
      report.stacks.push_back(
        {item.at(0),
         parse_leak_cause(item.at(1).get<std::string>()).value_or(leak_cause::unknown)});
    for (const auto& item : x.at("sites")) {
      auto& site = report.sites.emplace_back();
      site.bytes = item.at("bytes");
      site.share = item.at("share");
      site.objects = item.at("objects");
      site.threads = item.at("threads");
      site.common = item.at("common");
      site.cause =
        parse_leak_cause(item.at("cause").get<std::string>()).value_or(leak_cause::unknown);
      for (const auto& frame : item.at("full_stack"))
        site.stack.push_back(location_from(frame));
      site.relevant = relevant_part(site.stack);
    }
    return report;
  } catch (const json::exception& e) {
    return fail(errc::io, std::string{"not a leak report: "} + e.what());
  }
}

json to_json(const leak_request& x) {
  const auto& e = x.evidence;
  return {{"before", x.before},
          {"after", x.after},
          {"maps", x.maps},
          {"live_growth", x.live_growth},
          {"jobs", x.jobs},
          {"sampled_jobs", x.sampled_jobs},
          {"max_sites", x.max_sites},
          {"evidence",
           {{"kind", static_cast<int>(e.kind)},
            {"live_per_job", e.live_per_job},
            {"private_per_job", e.private_per_job},
            {"encoded_per_job", e.encoded_per_job},
            {"decoded_per_job", e.decoded_per_job},
            {"live_grown", e.live_grown},
            {"private_grown", e.private_grown},
            {"model_bytes", e.model_bytes},
            {"delta_image_correlation", e.delta_image_correlation},
            {"gpu_reserved_per_job", e.gpu_reserved_per_job},
            {"gpu_allocated_per_job", e.gpu_allocated_per_job}}}};
}

expected<leak_request> leak_request_from_json(const json& x) {
  try {
    leak_request result;
    result.before = x.at("before");
    result.after = x.at("after");
    result.maps = x.at("maps");
    result.live_growth = x.at("live_growth");
    result.jobs = x.at("jobs");
    result.sampled_jobs = x.at("sampled_jobs");
    result.max_sites = x.at("max_sites");
    const auto& from = x.at("evidence");
    auto& e = result.evidence;
    e.kind = static_cast<growth>(from.at("kind").get<int>());
    e.live_per_job = from.at("live_per_job");
    e.private_per_job = from.at("private_per_job");
    e.encoded_per_job = from.at("encoded_per_job");
    e.decoded_per_job = from.at("decoded_per_job");
    e.live_grown = from.at("live_grown");
    e.private_grown = from.at("private_grown");
    e.model_bytes = from.at("model_bytes");
    e.delta_image_correlation = from.at("delta_image_correlation");
    e.gpu_reserved_per_job = from.at("gpu_reserved_per_job");
    e.gpu_allocated_per_job = from.at("gpu_allocated_per_job");
    return result;
  } catch (const json::exception& e) {
    return fail(errc::io, std::string{"not a request to explain a leak: "} + e.what());
  }
}

} // namespace ziyu::supervision
