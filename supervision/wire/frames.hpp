#pragma once

// The frames on the sockets between the control process, the fork server and the
// workers. Both ends are always of the same build: a peer of another version is
// refused.

#include "base/error.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ziyu::wire {

/// First byte pair of each frame, "ZY".
inline constexpr uint16_t magic = 0x595a;

/// Grows with every change of a frame's content.
inline constexpr uint8_t version = 4;

/// Bytes of the fixed frame header: magic (2), version (1), type (1), body size
/// (4), all little-endian. The body follows.
inline constexpr size_t header_size = 8;

/// The bound for the bodies of all types. Each type has its own bound: see `max_body_of`.
inline constexpr uint32_t max_body_size = 256u << 20;

/// The most jobs of a batch; a frame with more is refused.
inline constexpr uint32_t max_batch = 64;

/// The sender whose frames a reader reads. It decides which types of frames may come.
enum class stream : uint8_t {
  any,         ///< Not known; for tests.
  to_worker,   ///< assign, batch, trim, stop, profile
  from_worker, ///< ready, result, trimmed, profiled
  to_server,   ///< spawn, stop
  from_server, ///< server_ready, server_failed, spawned, exited
};

// -- what a worker says of its memory --------------------------------------------

/// All in bytes. A field that is not available is 0.
struct memory_reading {
  uint64_t live = 0;          ///< Allocated − deallocated, exact (jemalloc).
  uint64_t rss_anon = 0;      ///< Resident anonymous memory (/proc/self/statm).
  uint64_t gpu_allocated = 0; ///< Held by tensors on the GPU.
  uint64_t gpu_reserved = 0;  ///< Held by the GPU's caching allocator.
  bool operator==(const memory_reading&) const = default;
};

// -- control process -> worker -----------------------------------------------------

/// Turns a warm standby into the worker of a slot.
struct assign {
  uint32_t slot = 0;
  uint64_t generation = 0;
  std::string fault; ///< A fault to inject into every job, or empty.
  bool operator==(const assign&) const = default;
};

/// One job of a batch.
struct job {
  std::string fault; ///< A fault to inject into this job only, or empty.
  std::string image; ///< Encoded image bytes.
  bool operator==(const job&) const = default;
};

/// Runs one attempt at these jobs together. One batch at a time per worker.
struct batch {
  uint64_t attempt_id = 0; ///< Echoed in the answer.
  uint32_t top_k = 1;
  std::vector<job> jobs; ///< 1 to `max_batch`.
  bool operator==(const batch&) const = default;
};

/// A batch of one.
inline batch batch_of_one(uint64_t attempt_id, uint32_t top_k, std::string fault,
                          std::string image) {
  batch x{attempt_id, top_k, {}};
  x.jobs.push_back({std::move(fault), std::move(image)});
  return x;
}

/// Gives memory back to the system; answered with `trimmed`.
struct trim {
  bool operator==(const trim&) const = default;
};

/// Controls heap-profile sampling; answered with `profiled`. Comes only between two jobs, like
/// every frame.
struct profile {
  enum action : uint8_t {
    start, ///< Forgets what was sampled before and samples from now on.
    dump,  ///< Returns what was allocated since `start` and is still held.
    stop,  ///< Stops sampling; stacks sampled so far stay in later dumps.
  };
  uint8_t what = start;
  /// For `start`: one sample per 2^`log2_sample` bytes allocated, on average.
  /// See `supervision::choose_sample_rate`.
  uint8_t log2_sample = 19;
  bool operator==(const profile&) const = default;
};

/// Finish the running job, then end with exit code 0.
struct stop {
  bool operator==(const stop&) const = default;
};

// -- worker -> control process -----------------------------------------------------

/// The worker has finished its first inference and takes jobs.
struct ready {
  int32_t pid = 0;
  uint64_t warmup_us = 0; ///< From fork to now.
  memory_reading memory;
  bool operator==(const ready&) const = default;
};

struct score {
  uint32_t index = 0;
  float probability = 0; ///< Softmax over all classes, 0..1.
  std::string label;
  bool operator==(const score&) const = default;
};

/// The answer to one job of a batch. On failure `error_code` is set and `top_k` empty.
struct answer {
  std::string error_code; ///< `to_string(errc)`, or empty for success.
  std::string error_message;
  std::vector<score> top_k;       ///< Best first.
  uint32_t width = 0, height = 0; ///< Of the image as decoded (EXIF applied).
  uint64_t decode_us = 0, preprocess_us = 0;
  uint64_t inference_us = 0; ///< Of the whole batch: its jobs ran together.
  bool operator==(const answer&) const = default;
};

/// The answer to a `batch`.
struct result {
  uint64_t attempt_id = 0;
  std::vector<answer> answers; ///< In the order of the jobs, one for each.
  // These two come last on the wire, so that a worker can fill them in after it has freed
  // everything else: see `patch_memory`.
  int64_t delta_live = 0; ///< Live bytes after − before this batch.
  memory_reading memory;  ///< After this batch.
  bool operator==(const result&) const = default;
};

/// The answer to a batch of one.
struct lone_answer : answer {
  int64_t delta_live = 0;
  memory_reading memory;

  /// @pre `x` has one answer
  static lone_answer of(const result& x) { return {x.answers.at(0), x.delta_live, x.memory}; }
};

struct trimmed {
  memory_reading before, after;
  uint64_t duration_us = 0;
  bool operator==(const trimmed&) const = default;
};

/// Answer to `profile`. On failure `error_message` says why and `heap` is empty.
struct profiled {
  uint8_t what = profile::start; ///< Copied from the request.
  std::string error_message;
  uint64_t duration_us = 0; ///< How long the worker's jobs had to wait for this.
  uint64_t jobs = 0;        ///< Answered since `start`.
  /// How many of these jobs were sampled: as many as a tenth of the time allows, chosen at random.
  /// Their samples stand for all jobs.
  uint64_t sampled_jobs = 0;
  uint64_t live = 0; ///< Exact live bytes when the dump was taken.
  std::string heap;  ///< jemalloc's heap_v2 text without its MAPPED_LIBRARIES.
  std::string maps;  ///< The executable lines of /proc/self/maps.
  bool operator==(const profiled&) const = default;
};

// -- control process <-> fork server ----------------------------------------------

/// Fork one worker. The worker's end of a socket pair travels with this frame
/// as SCM_RIGHTS ancillary data of the first byte.
struct spawn {
  uint64_t spawn_id = 0;
  bool operator==(const spawn&) const = default;
};

/// The fork server has loaded and warmed the model.
struct server_ready {
  int32_t pid = 0;
  std::string model_name, model_version, model_sha256, precision;
  std::string decode;  ///< "exact", "reduced"
  std::string variant; ///< "bf16", "fp32 compiled", …
  std::string refused; ///< Why compiled packages that are there do not serve; empty: they do.
  uint32_t classes = 0;
  /// The time of the model, in microseconds, for 1, 2, 4 ... images together: as many as it takes.
  std::vector<uint32_t> batch_us;
  uint64_t load_us = 0;
  memory_reading memory;

  /// The most images that run together: a power of two.
  uint32_t largest_batch() const {
    uint32_t rows = 1;
    for (size_t i = 1; i < batch_us.size() && rows < max_batch; ++i)
      rows *= 2;
    return rows;
  }
  bool operator==(const server_ready&) const = default;
};

/// The fork server cannot go on (e.g., `model_missing`); it ends after this.
struct server_failed {
  std::string error_code, error_message;
  bool operator==(const server_failed&) const = default;
};

/// Answer to `spawn`. `pid` is 0 when the fork failed; `error_message` says why.
struct spawned {
  uint64_t spawn_id = 0;
  int32_t pid = 0;
  uint64_t fork_us = 0;
  std::string error_message;
  bool operator==(const spawned&) const = default;
};

/// A worker has been reaped. `signal` is 0 when it ended by itself.
struct exited {
  int32_t pid = 0;
  int32_t exit_code = 0;
  int32_t signal = 0;
  uint64_t max_rss = 0; ///< Bytes, lifetime peak (rusage).
  bool operator==(const exited&) const = default;
};

using frame = std::variant<assign, batch, trim, stop, ready, result, trimmed, spawn, server_ready,
                           server_failed, spawned, exited, profile, profiled>;

/// The largest body of a frame of this type (index into `frame`), in bytes. Batches are as large as
/// their images, and heap dumps take megabytes; all other frames are small.
uint32_t max_body_of(size_t type);

/// "result", "profiled", …
const char* name_of(size_t type);

/// Header and body of `x`, ready to write.
std::string encode(const frame& x);

/// Overwrites `delta_live` and `memory` in an encoded `result` of `size` bytes.
void patch_memory(char* encoded, size_t size, int64_t delta_live, const memory_reading& memory);

/// The content of a frame header.
struct header {
  uint8_t type = 0; ///< Index into `frame`.
  uint32_t body_size = 0;
};

/// Reads the first `header_size` bytes of a frame. `errc::bad_frame` for invalid bytes, for a type
/// that `from` does not send, and for a body above its type's bound.
expected<header> decode_header(std::string_view bytes, stream from = stream::any);

/// Reads a body; every byte of it must be used. Never reads past the body's end and never allocates
/// more than a few times the body's size, whatever the bytes are.
expected<frame> decode_body(header head, std::string_view body);

/// Cuts frames out of a stream of bytes. Not thread-safe.
class frame_reader {
public:
  explicit frame_reader(stream from = stream::any) : from_(from) {}

  void feed(std::string_view bytes);

  /// The next whole frame; `nullopt` when more bytes are needed. After an error
  /// the stream is unusable.
  expected<std::optional<frame>> next();

  /// Received bytes of an incomplete frame; 0 between two frames.
  size_t pending() const { return buffer_.size() - consumed_; }

private:
  stream from_;
  std::string buffer_;
  size_t consumed_ = 0;
};

} // namespace ziyu::wire
