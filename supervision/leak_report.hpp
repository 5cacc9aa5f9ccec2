#pragma once

#include "messaging/events/worker_events.hpp"
#include "supervision/call_stack.hpp"
#include "supervision/heap_profile.hpp"
#include "supervision/leak_cause.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace ziyu::supervision {

/// The cause of the growth of one call stack, by its addresses.
struct stack_cause {
  uint64_t fingerprint = 0; ///< Of the addresses, by `fingerprint`.
  leak_cause cause = leak_cause::unknown;
  bool operator==(const stack_cause&) const = default;
};

/// FNV-1a over the addresses of a stack; equal in all workers of one fork server.
uint64_t fingerprint(const std::vector<uint64_t>& addresses);

/// Where a worker's memory went, from two heap dumps.
struct leak_report {
  leak_cause cause = leak_cause::unknown;
  double growth_bytes = 0;      ///< Of all stacks between the two dumps.
  double estimated_bytes = 0;   ///< The same, estimated from samples alone.
  bool calibrated = false;      ///< `growth_bytes` is exact, and sites are scaled to it.
  uint64_t sample_bytes = 0;    ///< Mean bytes between samples.
  uint64_t jobs = 0;            ///< Between the two dumps; 0: unknown.
  std::vector<leak_site> sites; ///< The largest first.
  /// The whole growth as folded stacks ("outer;inner bytes\n"), for flame graphs.
  std::string flame;
  /// The largest stacks, which together hold nearly all of the growth; at most 4000.
  std::vector<stack_cause> stacks;
};

/// The input of a report.
struct leak_request {
  std::string before; ///< heap_v2 text; empty: the moment sampling was switched on.
  std::string after;  ///< heap_v2 text.
  std::string maps;   ///< /proc/<pid>/maps of the process; empty: as in `after`.
  /// Exact growth of live bytes between the dumps, 0: unknown. Samples give the sites' shares, this
  /// value their sum.
  int64_t live_growth = 0;
  uint64_t jobs = 0; ///< Between the dumps.
  /// How many of these jobs were sampled (0: all). Estimates are for all jobs.
  uint64_t sampled_jobs = 0;
  cause_evidence evidence; ///< What the counters say.
  size_t max_sites = 10;
};

/// Parses, compares and names. May take a second and tens of MB for a large program: the control
/// process uses `leak_explainer`.
expected<leak_report> explain_leak(const leak_request& x);

/// Growth with named frames, the input of `find_sites` and `write_folded`.
struct named_growth {
  call_stack stack; ///< Innermost first.
  double objects = 0, bytes = 0;
  uint32_t threads = 0;
};

/// Names the frames of `stacks` by the files of `mappings`; see `symbolizer`.
std::vector<named_growth> name_stacks(const std::vector<stack_growth>& stacks,
                                      std::vector<mapping> mappings);

/// Merges stacks into sites. The stacks form a tree of calls with the outermost call at its root.
/// The search goes down from the root while one callee has at least 80 % of its caller's growth.
/// So a site is the *innermost call that explains the growth*: a single malloc, or
/// torch::jit::load with its thousand small pieces. Where one of our own functions makes several
/// calls that matter (10 % of all growth), each becomes a site. Calls inside a library do not: a
/// reader sees a library as one thing. Sites are sorted by bytes, and there are at most
/// `max_sites`.
/// @param total Growth of all stacks, for the shares.
std::vector<leak_site> find_sites(const std::vector<named_growth>& stacks, double total,
                                  size_t max_sites);

/// Folded stacks, one line each. Equal stacks are merged; growth below one byte is left out.
std::string write_folded(const std::vector<named_growth>& stacks);

/// The report's sites as its event has them.
std::vector<events::site> reported_sites(const leak_report& x);

/// {"cause", "growth_bytes", "estimated_bytes", "calibrated", "sample_bytes", "jobs",
/// "sites" (as the event has them), "flame", "stacks": [[fingerprint, cause]]}.
nlohmann::json to_json(const leak_report& x);
expected<leak_report> leak_report_from_json(const nlohmann::json& x);

nlohmann::json to_json(const leak_request& x);
expected<leak_request> leak_request_from_json(const nlohmann::json& x);

} // namespace ziyu::supervision
