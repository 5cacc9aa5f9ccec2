#pragma once

#include <tl/expected.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace ziyu {

/// Every way in which something can fail at a boundary of Ziyu. The names
/// (`to_string`) are stable: they appear in results, dead letters, events,
/// metrics and logs.
enum class errc : uint8_t {
  // -- the operator's input ---------------------------------------------------
  invalid_config,  ///< A configuration value is wrong or unknown.
  invalid_usage,   ///< A command line is wrong.
  model_missing,   ///< The model folder or one of its files is not there.
  model_corrupt,   ///< A model file cannot be read or has the wrong checksum.
  model_mismatch,  ///< The model's input or output is not what model.json says.
  labels_mismatch, ///< The number of labels is not the model's number of classes.
  // -- a job's input: plainly bad, goes to the dead-letter topic at once --------
  empty_image,       ///< No bytes.
  undecodable_image, ///< Not an image, truncated or of an unknown format.
  image_too_large,   ///< More pixels than `jobs.max_pixels`.
  job_too_large,     ///< More bytes than `jobs.max_bytes`.
  tombstone,         ///< The record has no value.
  unknown_schema,    ///< JSON whose shape or `schema` is not known.
  missing_field,     ///< JSON without a required field.
  bad_base64,        ///< The `image` field is not base64.
  bad_dataref,       ///< A claim check outside of the allowed root, or missing.
  // -- a worker's fault: costs the job an attempt -------------------------------
  worker_died,       ///< The worker process ended with the job in flight.
  deadline_exceeded, ///< No answer before the job's deadline.
  hard_limit,        ///< The worker went over its hard memory limit.
  bad_frame,         ///< Rubbish on a worker's socket.
  misreported,       ///< What the worker says of its memory is not what we read.
  inference_failed,  ///< The model threw on this input.
  max_attempts,      ///< The job has used up its attempts.
  result_too_large,  ///< The broker refuses the job's result as too large.
  // -- the surroundings ---------------------------------------------------------
  io,          ///< A file or socket operation failed.
  timeout,     ///< A wait ran into its deadline.
  unavailable, ///< A peer is not there now; try again later.
  kafka,       ///< librdkafka reported an error that a retry may mend.
  kafka_fatal, ///< The Kafka client is unusable and has to be re-created.
  queue_full,  ///< A bounded queue is full; try again later.
  revoked,     ///< The partition is no longer ours.
  stopping,    ///< The service is shutting down.
};

std::string_view to_string(errc code) noexcept;

/// The inverse of `to_string`; false when the name is unknown.
bool from_string(std::string_view name, errc& code) noexcept;

/// True for errors that the input itself causes: another attempt cannot help.
bool is_bad_input(errc code) noexcept;

/// A failure as a value: what happened (`code`), where and what to do
/// (`message`, one line of UTF-8).
struct error {
  errc code = errc::io;
  std::string message;

  /// "code: message".
  std::string describe() const;
};

template <class T>
using expected = tl::expected<T, error>;

inline tl::unexpected<error> fail(errc code, std::string message) {
  return tl::unexpected<error>(error{code, std::move(message)});
}

} // namespace ziyu
