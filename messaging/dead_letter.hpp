#pragma once

// Dead letters: what their headers say, how one is tried again, and how it is known that
// somebody has dealt with it. Pure.

#include "base/error.hpp"
#include "messaging/producer.hpp"
#include "messaging/record.hpp"

namespace ziyu::messaging {

/// Whose names the headers have that tell the reason.
enum class dead_letter_style : uint8_t {
  connect,   ///< `__connect.errors.*` (Kafka Connect); all values are texts.
  kafka_dlt, ///< `kafka_dlt-*` (Spring); numbers are big-endian as Spring writes them.
};
/// "connect", "kafka_dlt"; false, and `to` as it was, for any other word.
bool from_string(std::string_view word, dead_letter_style& to) noexcept;

/// What is added to the headers of a dead letter: where the job was, why it could not be
/// done (`reason.message` cut to 1 KiB), how often it was begun, and when it was given up.
header_list dead_letter_headers(const record& source, const error& reason, uint32_t attempts,
                                int64_t wall_ms,
                                dead_letter_style style = dead_letter_style::connect);

/// `headers` without those that tell the reason of a dead letter, of either style: a job
/// that comes back again and again must not grow by them.
header_list without_reason(const header_list& headers);

/// The next smaller form of a dead letter that its topic does not take for its size (it takes
/// less than the job topic did): first without its payload, then also without the job's own
/// headers, its id cut to 256 bytes, a longer key replaced by where the job was. Its headers
/// say that, and where the job still is. Nothing when it has no smaller form.
std::optional<outgoing> slimmed(const outgoing& x, const error& why);

/// What a record in the topic of dead letters says, of either style.
struct dead_letter {
  record_id source; ///< Where the job was; the topic is empty when it does not say.
  std::string job_id, code, message;
  uint32_t attempts = 0;
  int64_t time_ms = 0;     ///< When it became a dead letter; else the record's own time.
  uint64_t replays = 0;    ///< How often its job had been replayed before.
  bool incomplete = false; ///< Its topic was too small for its payload or headers.
};
dead_letter read_dead_letter(const record& x);

/// The job of a dead letter once more: key, payload and headers as they were, but the reason
/// replaced by `ziyu-replays` (how often) and `ziyu-history` (JSON, the latest five reasons
/// at most, so that it never grows without bound). `unknown_schema` when it does not say
/// where the job was, `job_too_large` when it is incomplete.
expected<outgoing> replay_of(const record& x);

/// What somebody did about a dead letter.
enum class dead_letter_action : uint8_t { replayed, dropped };
std::string_view to_string(dead_letter_action x) noexcept;

/// A record for the same partition of the topic of dead letters that says that `letter` has
/// been dealt with. It is retained longer than the letter, which is older.
outgoing make_mark(const record_id& letter, dead_letter_action what, int64_t wall_ms);

struct dead_letter_mark {
  record_id letter;
  dead_letter_action what{};
  int64_t time_ms = 0;
};
/// Nothing for any other record.
std::optional<dead_letter_mark> read_mark(const record& x);

} // namespace ziyu::messaging
