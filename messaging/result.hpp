#pragma once

#include "base/error.hpp"
#include "messaging/events/model_version.hpp"
#include "messaging/record.hpp"

#include <nlohmann/json.hpp>

namespace ziyu::messaging {

struct scored_label {
  std::string label;
  double confidence = 0; ///< Probability, 0..1.
  uint32_t index = 0;
};

/// The outcome of a job, as it goes to the result topic (schema `configs/result.schema.json`,
/// "ziyu.result.v1").
struct result {
  std::string job_id;
  bool ok = true;
  std::vector<scored_label> top_k; ///< Best first; the first is the label.
  events::model_version model;
  uint32_t slot = 0;
  uint64_t generation = 0;
  int32_t pid = 0;
  uint32_t batch = 1; ///< Jobs that ran together, itself included.
  // Milliseconds.
  double queued_ms = 0, decode_ms = 0, preprocess_ms = 0, inference_ms = 0, total_ms = 0;
  uint32_t width = 0, height = 0;
  // Bytes.
  int64_t delta_bytes = 0; ///< Of the batch.
  uint64_t live_bytes = 0, private_bytes = 0;
  record_id source;
  uint32_t attempt = 1;
  bool duplicate_id = false; ///< Another record with this job id came before.
  int64_t finished_ms = 0;   ///< Wall clock.
  error reason;              ///< Only when not ok.
};

/// JSON in UTF-8, in one line. Bytes that are not UTF-8 become U+FFFD. Numbers must be finite.
std::string to_json_text(const result& x);
expected<result> result_from_json(const nlohmann::json& x);

} // namespace ziyu::messaging
