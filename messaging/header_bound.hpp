#pragma once

#include <cstddef>

namespace ziyu::messaging {

/// A record may consist of nothing but headers, each of which takes some forty times its bytes in
/// memory. Of a record with more headers than this, `to_record` keeps `kept_at_each_end` of
/// the first and of the last ones, and one header more, `unread_headers`.
inline constexpr size_t max_headers = 10'000;
inline constexpr size_t kept_at_each_end = 32;

/// Says that headers of this record were not read. `decode_job` refuses such a record.
inline constexpr const char* unread_headers = "ziyu-headers-unread";

} // namespace ziyu::messaging
