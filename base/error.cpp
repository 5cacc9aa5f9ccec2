#include "base/error.hpp"

#include <array>

namespace ziyu {

namespace {

struct entry {
  errc code;
  std::string_view name;
};

constexpr std::array entries{
  entry{errc::invalid_config, "invalid_config"},
  entry{errc::invalid_usage, "invalid_usage"},
  entry{errc::model_missing, "model_missing"},
  entry{errc::model_corrupt, "model_corrupt"},
  entry{errc::model_mismatch, "model_mismatch"},
  entry{errc::labels_mismatch, "labels_mismatch"},
  entry{errc::empty_image, "empty_image"},
  entry{errc::undecodable_image, "undecodable_image"},
  entry{errc::image_too_large, "image_too_large"},
  entry{errc::job_too_large, "job_too_large"},
  entry{errc::tombstone, "tombstone"},
  entry{errc::unknown_schema, "unknown_schema"},
  entry{errc::missing_field, "missing_field"},
  entry{errc::bad_base64, "bad_base64"},
  entry{errc::bad_dataref, "bad_dataref"},
  entry{errc::worker_died, "worker_died"},
  entry{errc::deadline_exceeded, "deadline_exceeded"},
  entry{errc::hard_limit, "hard_limit"},
  entry{errc::bad_frame, "bad_frame"},
  entry{errc::misreported, "misreported"},
  entry{errc::inference_failed, "inference_failed"},
  entry{errc::max_attempts, "max_attempts"},
  entry{errc::result_too_large, "result_too_large"},
  entry{errc::io, "io"},
  entry{errc::timeout, "timeout"},
  entry{errc::unavailable, "unavailable"},
  entry{errc::kafka, "kafka"},
  entry{errc::kafka_fatal, "kafka_fatal"},
  entry{errc::queue_full, "queue_full"},
  entry{errc::revoked, "revoked"},
  entry{errc::stopping, "stopping"},
};

} // namespace

std::string_view to_string(errc code) noexcept {
  for (const auto& x : entries)
    if (x.code == code)
      return x.name;
  return "unknown";
}

bool from_string(std::string_view name, errc& code) noexcept {
  for (const auto& x : entries)
    if (x.name == name) {
      code = x.code;
      return true;
    }
  return false;
}

bool is_bad_input(errc code) noexcept {
  return code >= errc::empty_image && code <= errc::bad_dataref;
}

std::string error::describe() const {
  std::string result{to_string(code)};
  result += ": ";
  result += message;
  return result;
}

} // namespace ziyu
