#pragma once

#include "base/error.hpp"

#include <cstdint>
#include <string_view>

namespace ziyu::wire {

/// A fault to inject into a worker's jobs, to prove that it heals.
struct fault_spec {
  enum class kind : uint8_t {
    none,
    retain_tensors, ///< Keeps the output and a tensor of `bytes`.
    retain_images,  ///< Keeps the encoded and the decoded image.
    reload_model,   ///< Loads the model once more and keeps it.
    native_malloc,  ///< Keeps `bytes` of malloc'ed, touched memory.
    crash,          ///< SIGSEGV.
    hang,           ///< Never answers.
    slow,           ///< Takes `ms` longer.
  };
  kind what = kind::none;
  uint64_t bytes = 0;
  uint64_t ms = 0;
};

/// Parses `retain_tensors[:bytes]`, `retain_images`, `reload_model`,
/// `native_malloc[:bytes]`, `crash`, `hang`, `slow:ms` or the empty text (none);
/// amounts of bytes as in `parse_bytes`. The error lists what is known.
expected<fault_spec> parse_fault(std::string_view text);

} // namespace ziyu::wire
