#pragma once

#include "cli/doctor/sizing.hpp"
#include "cli/view/chart.hpp"
#include "supervision/leak_judge.hpp"
#include "supervision/leak_report.hpp"
#include "supervision/memory_probe.hpp"
#include "supervision/wire/frames.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::cli {

/// The findings of `ziyu doctor` about a model. Bytes and microseconds.
struct diagnosis {
  wire::server_ready model;
  std::string images; ///< The images' source.

  /// One job of the judged worker.
  struct point {
    uint64_t job = 0; ///< From 1.
    int64_t delta = 0;
    uint64_t live = 0, private_bytes = 0;
  };
  std::vector<point> series;
  uint64_t jobs = 0, failed_jobs = 0;

  /// An image without a result.
  struct bad_image {
    std::string name, code, message;
  };
  std::vector<bad_image> bad_images; ///< Each once; the first `max_bad_images`.
  static constexpr size_t max_bad_images = 1000;

  supervision::leak_judge::verdict verdict;
  uint64_t confirmed_at = 0; ///< Job after which growth was confirmed; 0: never.

  std::optional<supervision::leak_report> explanation;
  uint64_t sampled_jobs = 0; ///< Jobs during which the heap was sampled.
  std::string unexplained;   ///< Why there is no explanation, if one was due.

  /// Memory of the judged worker before its first job, and before and after the trim.
  struct trim_effect {
    uint64_t before = 0, after = 0, fresh = 0;
    /// Whether at least half of its growth was given back.
    bool sufficed() const { return after < fresh + (before - std::min(before, fresh)) / 2; }
  };
  std::optional<trim_effect> trim, gpu_trim; ///< Of private memory; of the GPU's cache.

  /// The trim that decides the verdict, if it was tried.
  const std::optional<trim_effect>& decisive_trim() const {
    return verdict.on_gpu ? gpu_trim : trim;
  }

  /// One image in a new worker.
  struct size_row {
    std::string name;
    uint32_t width = 0, height = 0;
    uint64_t encoded_bytes = 0, decoded_bytes = 0;
    uint64_t idle_private = 0, peak_private = 0;
    uint64_t decode_us = 0, preprocess_us = 0, inference_us = 0; ///< Medians.

    uint64_t over_idle() const { return peak_private - std::min(peak_private, idle_private); }
  };
  std::vector<size_row> sizes; ///< By decoded bytes.

  supervision::process_memory fork_server;
  supervision::container_memory container;
  uint64_t worker_idle = 0, worker_peak = 0; ///< Private memory.
  sizing advice;

  std::string failure; ///< Why the examination did not reach its end; or empty.
};

enum class health : uint8_t { healthy, leaks, unjudged };

/// `leaks`: live bytes grow beyond doubt, or private memory does and a trim does not help.
/// `unjudged`: the worker failed, or there were too few jobs or results.
health health_of(const diagnosis& x);

/// 0, 3 or 1.
int exit_code_of(const diagnosis& x);

/// The most private memory of the judged worker without its leak: without the live bytes that it
/// gained, and only until hoarding was confirmed, since a service would trim it then.
uint64_t settled_private(const diagnosis& x);

/// One sentence: the verdict and its reason.
std::string summary(const diagnosis& x);

/// For machines; the keys are in docs/doctor.md.
nlohmann::json to_json(const diagnosis& x);

/// For people, lines of at most `width` columns where that is possible.
std::vector<std::string> draw(const diagnosis& x, size_t width, bool colours);

/// Live and private memory over the jobs.
chart memory_chart(const diagnosis& x);

} // namespace ziyu::cli
