#pragma once

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
  double estimated_bytes = 0;   ///< The same from samples alone.
  bool calibrated = false;      ///< `growth_bytes` is exact, and sites are scaled to it.
  uint64_t sample_bytes = 0;    ///< Mean bytes between samples.
  uint64_t jobs = 0;            ///< Between the two dumps; 0: unknown.
  std::vector<leak_site> sites; ///< The largest first.
  /// The whole growth as folded stacks ("outer;inner bytes\n"), for flame graphs.
  std::string flame;
  /// Of the largest stacks, which together hold nearly all of the growth; at most 4000.
  std::vector<stack_cause> stacks;
};

/// What a report is made from.
struct leak_request {
  std::string before; ///< heap_v2 text; empty: the moment sampling was switched on.
  std::string after;  ///< heap_v2 text.
  std::string maps;   ///< /proc/<pid>/maps of the process; empty: as in `after`.
  /// Exact growth of live bytes between the dumps, 0: unknown. Sampling tells the
  /// sites' shares; this their sum.
  int64_t live_growth = 0;
  uint64_t jobs = 0; ///< Between the dumps.
  /// So many of them were sampled: estimates are for all; 0: all.
  uint64_t sampled_jobs = 0;
  cause_evidence evidence; ///< What the counters say.
  size_t max_sites = 10;
};

/// Parses, compares, names. May take a second and tens of MB for a large program:
/// in the control process use `leak_explainer`.
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

/// Merges stacks into sites. The stacks form a tree of calls, the outermost at its
/// root. From the root it goes down as long as one callee accounts for at least 80 %
/// of its caller's growth, so that a site is the *innermost call that explains the
/// growth*: a single malloc, or torch::jit::load with its thousand small pieces.
/// Where one of our own functions makes several calls that matter (10 % of all
/// growth), each becomes a site; inside a library they do not, as its pieces are one
/// thing to the reader. Sites are sorted by bytes and at most `max_sites`.
/// @param total Growth of all, for the shares.
std::vector<leak_site> find_sites(const std::vector<named_growth>& stacks, double total,
                                  size_t max_sites);

/// Folded stacks, one line each, equal ones merged, only growth of at least a byte.
std::string write_folded(const std::vector<named_growth>& stacks);

/// {"cause", "growth_bytes", "estimated_bytes", "calibrated", "sample_bytes", "jobs",
/// "sites": [{"bytes", "share", "objects", "threads", "cause", "responsible":
/// {function, library, file, line}, "stack": [...], "full_stack": [...]}], "flame",
/// "stacks": [[fingerprint, cause]]}.
/// Frames are innermost first; a frame's "file" and "line" only where known.
nlohmann::json to_json(const leak_report& x);
expected<leak_report> leak_report_from_json(const nlohmann::json& x);

nlohmann::json to_json(const leak_request& x);
expected<leak_request> leak_request_from_json(const nlohmann::json& x);

} // namespace ziyu::supervision
