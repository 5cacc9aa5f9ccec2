#pragma once

// Dead letters: what their headers say, how one is replayed, and how a dead letter is marked as
// dealt with. Pure.

#include "base/error.hpp"
#include "messaging/producer.hpp"
#include "messaging/record.hpp"

namespace ziyu::messaging {

/// Which names the headers have that tell the reason.
enum class dead_letter_style : uint8_t {
  connect,   ///< `__connect.errors.*` (Kafka Connect); all values are texts.
  kafka_dlt, ///< `kafka_dlt-*` (Spring); numbers are big-endian as Spring writes them.
};
/// "connect", "kafka_dlt"; false, and `to` as it was, for any other word.
bool from_string(std::string_view word, dead_letter_style& to) noexcept;

/// The headers that are added to a dead letter: where the job was, why it failed (`reason.message`
/// cut to 1 KiB), how many attempts were begun, and when it was given up.
header_list dead_letter_headers(const record& source, const error& reason, uint32_t attempts,
                                int64_t wall_ms,
                                dead_letter_style style = dead_letter_style::connect);

/// `headers` without those that tell the reason of a dead letter, of either style: the headers of a
/// job that is replayed many times must not grow by them.
header_list without_reason(const header_list& headers);

/// The next smaller form of a dead letter that its topic refuses as too large (its bound is below
/// the job topic's): first without its payload, then also without the job's own headers, with its
/// id cut to 256 bytes and a longer key replaced by the job's place. Its headers say what is left
/// out, and where the job still is. Nothing when there is no smaller form.
std::optional<outgoing> slimmed(const outgoing& x, const error& why);

/// The content of a record in the dead-letter topic, of either style.
struct dead_letter {
  record_id source; ///< Where the job was; the topic is empty when the record does not say it.
  std::string job_id, code, message;
  uint32_t attempts = 0;
  int64_t time_ms = 0;     ///< When it became a dead letter; else the record's own time.
  uint64_t replays = 0;    ///< How often its job had been replayed before.
  bool incomplete = false; ///< Its payload or headers were too large for its topic.
};
dead_letter read_dead_letter(const record& x);

/// The job of a dead letter, to be produced once more: key, payload and headers as they were. The
/// reason is replaced by `ziyu-replays` (how often) and `ziyu-history` (JSON, at most the latest
/// five reasons, so that it is bounded). `unknown_schema` when the dead letter does not say where
/// the job was, `job_too_large` when it is incomplete.
expected<outgoing> replay_of(const record& x);

/// What a person did about a dead letter.
enum class dead_letter_action : uint8_t { replayed, dropped };
std::string_view to_string(dead_letter_action x) noexcept;

/// A mark: a record for the same partition of the dead-letter topic that says that `letter` has
/// been dealt with. It is newer than the dead letter, so retention deletes it later.
outgoing make_mark(const record_id& letter, dead_letter_action what, int64_t wall_ms);

struct dead_letter_mark {
  record_id letter;
  dead_letter_action what{};
  int64_t time_ms = 0;
};
/// Nothing for any other record.
std::optional<dead_letter_mark> read_mark(const record& x);

} // namespace ziyu::messaging
