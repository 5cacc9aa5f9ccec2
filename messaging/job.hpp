#pragma once

#include "base/error.hpp"
#include "messaging/job_id.hpp"
#include "messaging/record.hpp"

#include <memory>

namespace ziyu::messaging {

/// One image to classify, as read from a record.
struct job {
  std::string id; ///< From the JSON's `job_id`, else the key, else the place (`job_id_of`).
  record source;  ///< As fetched, for provenance; its value may be shared.
  std::shared_ptr<const std::string> image; ///< Encoded image bytes.
  std::string fault; ///< From the header `ziyu-fault`; obeyed only when allowed.

  size_t bytes() const; ///< Bytes of the record and the image.
};

/// Bounds of a job.
struct job_limits {
  uint64_t max_bytes = uint64_t{16} << 20; ///< Encoded image bytes.
  uint64_t max_pixels = 100'000'000;       ///< Width × height.
  std::string dataref_root;                ///< Claim checks may point below here; empty: none.
};

/// True if the record's value is the image itself. Then `decode_job` neither reads nor copies
/// it.
bool is_plain_image(const record& x);

/// Reads a job from a record's value: raw image bytes; or, when the first non-space
/// character is `{` or the header `content-type` is `application/json`, JSON `{"schema":
/// "ziyu.job.v1"?, "job_id"?, "image": base64}`; or a claim check (header `ce_dataref`,
/// a `file:` URI below `dataref_root`). Keys and headers are not changed. Takes memory
/// for at most a few times the record's value, whatever its JSON holds. Blocks on the
/// file of a claim check. Errors are those of `is_bad_input`, with what and where in the
/// message.
expected<job> decode_job(record source, const job_limits& limits);

} // namespace ziyu::messaging
