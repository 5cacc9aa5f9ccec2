#pragma once

#include "messaging/record.hpp"

#include <optional>
#include <string>
#include <string_view>

namespace ziyu::messaging {

/// The job id of a record key, or of the `job_id` of a JSON job: a text that stands for
/// exactly these bytes.
///
/// A key that people can read (UTF-8 without control characters) is its own id. Any other key,
/// and a text that begins with "hex:" itself, becomes "hex:" and its bytes in lower-case
/// hexadecimal. So no two keys have one id. @pre `key` is not empty.
std::string id_of_key(std::string_view key);

/// The inverse of `id_of_key`; nothing for a text that it never returns.
std::optional<std::string> key_of_id(std::string_view id);

/// The id of the job in the record at `at` with this key. The id of a record with no key, or with
/// an empty one, is its place: "topic-partition-offset". A key that looks like a place in its own
/// topic is written in hexadecimal, so that it does not stand for that place.
std::string job_id_of(const record_id& at, std::string_view key);

/// The id of a record's job, unless its JSON names another.
std::string job_id_of(const record& source);

} // namespace ziyu::messaging
