#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::messaging {

/// The offsets from `first` up to, but not including, `past`.
struct offset_range {
  int64_t first = 0, past = 0;
  bool operator==(const offset_range&) const = default;
};

/// What an owner of a partition leaves in the metadata of its commits, for whoever goes
/// on from the committed offset. All of it only ever saves work: without it everything
/// from the committed offset on is done (again).
struct offset_map {
  /// Finished already, out of order. Ascending, neither overlapping nor touching; all
  /// beyond the committed offset, which itself is not finished.
  std::vector<offset_range> finished;

  /// Attempts begun at records that are not finished; at least 1 each.
  std::map<int64_t, uint32_t> attempts;

  /// No record at or beyond this offset has been begun. Only an owner that died leaves it
  /// behind: any open record below it may be what killed it.
  std::optional<int64_t> begun_below;

  bool operator==(const offset_map&) const = default;
  bool empty() const { return finished.empty() && attempts.empty() && !begun_below; }

  /// Whether `offset` is in `finished`.
  bool has_finished(int64_t offset) const;
};

/// What a Kafka broker accepts as metadata of a commit unless it is told otherwise
/// (`offset.metadata.max.bytes`).
inline constexpr size_t max_offset_metadata_bytes = 4096;

/// Of these, what a map leaves to the mark of a transaction.
inline constexpr size_t max_transaction_mark_bytes = 32;

/// Bytes that the whole of `x` takes as metadata beside the committed offset `base`,
/// however many; 0 when it is empty.
size_t offset_map_bytes(const offset_map& x, int64_t base);

/// `x` as metadata of at most `limit` bytes for a commit of offset `base`; empty for an
/// empty map. What does not fit is left out: first the finished ranges that are farthest
/// away, then the farthest attempts. That costs work, never a record.
/// Format (version 1): "ziyu1:" and, in base64, a body and its CRC-32, seeded with `base`.
/// The body: how `finished` is written (0 runs, 1 bits), its length and content,
/// `begun_below` − `base` + 1 (0: none), the number of attempts, and for each the
/// distance from the one before (the first: from `base`) and its value. Numbers are
/// LEB128. Runs are pairs (open, finished) of lengths, from `base` on; bit i of the bits
/// (the lowest first) is offset `base` + i. The shorter of the two is taken. A transaction's
/// mark may follow, after a ';'; beside an empty map it is "ziyu;" and the mark.
/// @pre base >= 0, and `x` is as its members say
std::string encode_offset_map(const offset_map& x, int64_t base,
                              size_t limit = max_offset_metadata_bytes
                                             - max_transaction_mark_bytes);

/// `metadata`, a map or nothing, with the mark of the transaction that commits it: by it one
/// is told from all others that may have put the same there.
/// @param mark Not empty, without ';' and ':', shorter than `max_transaction_mark_bytes`.
std::string with_transaction_mark(std::string_view metadata, std::string_view mark);

/// The mark in `metadata`; empty if there is none.
std::string_view transaction_mark(std::string_view metadata);

struct decoded_offset_map {
  offset_map map;
  /// Not empty: the metadata was not used (foreign, of another version, corrupt, or it
  /// speaks of records that the log does not have), and why. `map` is empty then.
  std::string ignored;
};

/// Reads the metadata of a commit of offset `base`. Never fails: what cannot be trusted in
/// full is ignored in full, as if nothing beyond `base` had been finished.
/// @param log_end The partition's end; a map that says otherwise is of another log.
decoded_offset_map decode_offset_map(std::string_view metadata, int64_t base,
                                     std::optional<int64_t> log_end = std::nullopt);

} // namespace ziyu::messaging
