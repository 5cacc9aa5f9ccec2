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

/// What an owner of a partition leaves in the metadata of its commits for the next owner, which
/// goes on from the committed offset. The map only saves work: without it everything from the
/// committed offset on is done again.
struct offset_map {
  /// Offsets finished out of order. Ascending; ranges neither overlap nor touch. All are beyond the
  /// committed offset, which itself is not finished.
  std::vector<offset_range> finished;

  /// Attempts begun at records that are not finished; at least 1 each.
  std::map<int64_t, uint32_t> attempts;

  /// No attempt has begun at or beyond this offset. Only an owner that died leaves it in a commit:
  /// any open record below it may have killed that owner.
  std::optional<int64_t> begun_below;

  bool operator==(const offset_map&) const = default;
  bool empty() const { return finished.empty() && attempts.empty() && !begun_below; }

  /// Whether `offset` is in `finished`.
  bool has_finished(int64_t offset) const;
};

/// A Kafka broker's default bound for the metadata of a commit
/// (`offset.metadata.max.bytes`).
inline constexpr size_t max_offset_metadata_bytes = 4096;

/// The part of these bytes that a map leaves free for the mark of a transaction.
inline constexpr size_t max_transaction_mark_bytes = 32;

/// Bytes of the whole of `x` as metadata beside the committed offset `base`, without any bound; 0
/// when it is empty.
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

/// `metadata` (a map or empty) with the mark of the transaction that commits it. The mark tells
/// this commit from others with the same map.
/// @param mark Not empty, without ';' and ':', shorter than `max_transaction_mark_bytes`.
std::string with_transaction_mark(std::string_view metadata, std::string_view mark);

/// The mark in `metadata`; empty if there is none.
std::string_view transaction_mark(std::string_view metadata);

struct decoded_offset_map {
  offset_map map;
  /// Not empty: why the metadata was not used (foreign, of another version, corrupt, or about
  /// records that the log does not have). `map` is empty then.
  std::string ignored;
};

/// Reads the metadata of a commit of offset `base`. Never fails: metadata that is not valid in full
/// is ignored in full, as if nothing beyond `base` had been finished.
/// @param log_end The partition's end; a map that goes beyond it is of another log.
decoded_offset_map decode_offset_map(std::string_view metadata, int64_t base,
                                     std::optional<int64_t> log_end = std::nullopt);

} // namespace ziyu::messaging
