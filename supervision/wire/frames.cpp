#include "supervision/wire/frames.hpp"

#include <bit>
#include <cstring>
#include <iterator>
#include <type_traits>

namespace ziyu::wire {

namespace {

static_assert(std::endian::native == std::endian::little, "frames are little-endian");

// -- one description of each frame serves both directions ---------------------------

template <class F>
void fields(F& f, memory_reading& x) {
  f(x.live), f(x.rss_anon), f(x.gpu_allocated), f(x.gpu_reserved);
}
template <class F>
void fields(F& f, assign& x) {
  f(x.slot), f(x.generation), f(x.fault);
}
template <class F>
void fields(F& f, job& x) {
  f(x.fault), f(x.image);
}
template <class F>
void fields(F& f, batch& x) {
  f(x.attempt_id), f(x.top_k), f(x.jobs);
}
template <class F>
void fields(F&, trim&) {}
template <class F>
void fields(F&, stop&) {}
template <class F>
void fields(F& f, ready& x) {
  f(x.pid), f(x.warmup_us), f(x.memory);
}
template <class F>
void fields(F& f, score& x) {
  f(x.index), f(x.probability), f(x.label);
}
template <class F>
void fields(F& f, answer& x) {
  f(x.error_code), f(x.error_message), f(x.top_k), f(x.width), f(x.height);
  f(x.decode_us), f(x.preprocess_us), f(x.inference_us);
}
template <class F>
void fields(F& f, result& x) {
  f(x.attempt_id), f(x.answers), f(x.delta_live), f(x.memory);
}
template <class F>
void fields(F& f, trimmed& x) {
  f(x.before), f(x.after), f(x.duration_us);
}
template <class F>
void fields(F& f, spawn& x) {
  f(x.spawn_id);
}
template <class F>
void fields(F& f, server_ready& x) {
  f(x.pid), f(x.model_name), f(x.model_version), f(x.model_sha256), f(x.precision);
  f(x.decode), f(x.variant), f(x.refused), f(x.classes), f(x.batch_us), f(x.load_us), f(x.memory);
}
template <class F>
void fields(F& f, server_failed& x) {
  f(x.error_code), f(x.error_message);
}
template <class F>
void fields(F& f, spawned& x) {
  f(x.spawn_id), f(x.pid), f(x.fork_us), f(x.error_message);
}
template <class F>
void fields(F& f, exited& x) {
  f(x.pid), f(x.exit_code), f(x.signal), f(x.max_rss);
}
template <class F>
void fields(F& f, profile& x) {
  f(x.what), f(x.log2_sample);
}
template <class F>
void fields(F& f, profiled& x) {
  f(x.what), f(x.error_message), f(x.duration_us), f(x.jobs), f(x.sampled_jobs);
  f(x.live), f(x.heap), f(x.maps);
}

class writer {
public:
  explicit writer(std::string& out) : out_(out) {}

  template <class T>
  void operator()(T& x) {
    if constexpr (std::is_arithmetic_v<T>) {
      out_.append(reinterpret_cast<const char*>(&x), sizeof x);
    } else {
      fields(*this, x);
    }
  }
  void operator()(std::string& x) {
    auto size = static_cast<uint32_t>(x.size());
    (*this)(size);
    out_ += x;
  }
  template <class T>
  void operator()(std::vector<T>& x) {
    auto size = static_cast<uint32_t>(x.size());
    (*this)(size);
    for (auto& item : x)
      (*this)(item);
  }

private:
  std::string& out_;
};

class reader {
public:
  explicit reader(std::string_view in) : in_(in) {}

  template <class T>
  void operator()(T& x) {
    if constexpr (std::is_arithmetic_v<T>) {
      if (!take(sizeof x))
        return;
      std::memcpy(&x, in_.data(), sizeof x);
      in_.remove_prefix(sizeof x);
    } else {
      fields(*this, x);
    }
  }
  void operator()(std::string& x) {
    uint32_t size = 0;
    (*this)(size);
    if (!take(size))
      return;
    x.assign(in_.data(), size);
    in_.remove_prefix(size);
  }
  template <class T>
  void operator()(std::vector<T>& x) {
    uint32_t size = 0;
    (*this)(size);
    // Jobs and answers may be nearly empty on the wire, and are not in memory. Scores fail long
    // before their vector could outgrow the body.
    if (!std::is_same_v<T, score> && size > max_batch)
      ok_ = false;
    for (uint32_t i = 0; i < size && ok_; ++i)
      (*this)(x.emplace_back());
  }

  bool complete() const { return ok_ && in_.empty(); }

private:
  bool take(size_t n) {
    ok_ = ok_ && in_.size() >= n;
    return ok_;
  }

  std::string_view in_;
  bool ok_ = true;
};

constexpr uint32_t kib = 1u << 10, mib = 1u << 20;

struct type_rule {
  const char* name;
  uint32_t max_body;
  stream from, also_from;
};

/// By index into `frame`.
constexpr type_rule rules[] = {
  {"assign", 4 * kib, stream::to_worker, stream::to_worker},
  {"batch", max_body_size, stream::to_worker, stream::to_worker},
  {"trim", 0, stream::to_worker, stream::to_worker},
  {"stop", 0, stream::to_worker, stream::to_server},
  {"ready", 64, stream::from_worker, stream::from_worker},
  {"result", 4 * mib, stream::from_worker, stream::from_worker},
  {"trimmed", 128, stream::from_worker, stream::from_worker},
  {"spawn", 8, stream::to_server, stream::to_server},
  {"server_ready", 64 * kib, stream::from_server, stream::from_server},
  {"server_failed", mib, stream::from_server, stream::from_server},
  {"spawned", 64 * kib, stream::from_server, stream::from_server},
  {"exited", 64, stream::from_server, stream::from_server},
  {"profile", 8, stream::to_worker, stream::to_worker},
  {"profiled", 16 * mib, stream::from_worker, stream::from_worker},
};
static_assert(std::size(rules) == std::variant_size_v<frame>);

template <size_t I = 0>
frame make_frame(size_t index) {
  if constexpr (I + 1 < std::variant_size_v<frame>)
    if (index != I)
      return make_frame<I + 1>(index);
  return frame{std::in_place_index<I>};
}

} // namespace

uint32_t max_body_of(size_t type) { return type < std::size(rules) ? rules[type].max_body : 0; }

const char* name_of(size_t type) { return type < std::size(rules) ? rules[type].name : "unknown"; }

std::string encode(const frame& x) {
  std::string out(header_size, '\0');
  if (auto big = std::get_if<batch>(&x)) {
    size_t size = header_size + 64;
    for (const auto& each : big->jobs)
      size += 64 + each.fault.size() + each.image.size();
    out.reserve(size);
  } else if (auto dump = std::get_if<profiled>(&x)) {
    out.reserve(header_size + 64 + dump->error_message.size() + dump->heap.size()
                + dump->maps.size());
  }
  writer write{out};
  // The writer only reads; `fields` is shared with the reader, hence the cast.
  std::visit([&](const auto& y) { write(const_cast<std::remove_cvref_t<decltype(y)>&>(y)); }, x);
  const auto body_size = static_cast<uint32_t>(out.size() - header_size);
  const auto type = static_cast<uint8_t>(x.index());
  std::memcpy(out.data(), &magic, 2);
  std::memcpy(out.data() + 2, &version, 1);
  std::memcpy(out.data() + 3, &type, 1);
  std::memcpy(out.data() + 4, &body_size, 4);
  return out;
}

void patch_memory(char* encoded, size_t size, int64_t delta_live, const memory_reading& memory) {
  const uint64_t values[] = {memory.live, memory.rss_anon, memory.gpu_allocated,
                             memory.gpu_reserved};
  std::memcpy(encoded + size - sizeof values, values, sizeof values);
  std::memcpy(encoded + size - sizeof values - sizeof delta_live, &delta_live, sizeof delta_live);
}

expected<header> decode_header(std::string_view bytes, stream from) {
  uint16_t found_magic = 0;
  uint8_t found_version = 0;
  header result;
  if (bytes.size() < header_size)
    return fail(errc::bad_frame, "a frame's header is cut short");
  std::memcpy(&found_magic, bytes.data(), 2);
  std::memcpy(&found_version, bytes.data() + 2, 1);
  std::memcpy(&result.type, bytes.data() + 3, 1);
  std::memcpy(&result.body_size, bytes.data() + 4, 4);
  if (found_magic != magic)
    return fail(errc::bad_frame, "invalid bytes where a frame should begin");
  if (found_version != version)
    return fail(errc::bad_frame, "the peer speaks protocol version " + std::to_string(found_version)
                                   + ", we speak " + std::to_string(version));
  if (result.type >= std::variant_size_v<frame>)
    return fail(errc::bad_frame, "unknown frame type " + std::to_string(result.type));
  const auto& rule = rules[result.type];
  if (from != stream::any && from != rule.from && from != rule.also_from)
    return fail(errc::bad_frame,
                std::string{"a frame \""} + rule.name + "\", which this peer does not take");
  if (result.body_size > rule.max_body)
    return fail(errc::bad_frame, std::string{"a frame \""} + rule.name + "\" of "
                                   + std::to_string(result.body_size) + " bytes, at most "
                                   + std::to_string(rule.max_body) + " are allowed");
  return result;
}

expected<frame> decode_body(header head, std::string_view body) {
  auto result = make_frame(head.type);
  reader read{body};
  std::visit([&](auto& y) { read(y); }, result);
  if (!read.complete())
    return fail(errc::bad_frame, "the body of a frame of type " + std::to_string(head.type)
                                   + " does not have the right size");
  return result;
}

void frame_reader::feed(std::string_view bytes) {
  // Erases the used bytes only when they are half of the buffer: linear in the stream's length.
  if (consumed_ > 0 && consumed_ >= buffer_.size() / 2) {
    buffer_.erase(0, consumed_);
    consumed_ = 0;
  }
  buffer_ += bytes;
}

expected<std::optional<frame>> frame_reader::next() {
  const auto rest = std::string_view{buffer_}.substr(consumed_);
  if (rest.size() < header_size)
    return std::optional<frame>{};
  auto head = decode_header(rest, from_);
  if (!head)
    return tl::unexpected(head.error());
  if (rest.size() < header_size + head->body_size)
    return std::optional<frame>{};
  auto result = decode_body(*head, rest.substr(header_size, head->body_size));
  if (!result)
    return tl::unexpected(result.error());
  consumed_ += header_size + head->body_size;
  if (consumed_ == buffer_.size()) {
    buffer_.clear();
    consumed_ = 0;
  }
  return std::optional<frame>{std::move(*result)};
}

} // namespace ziyu::wire
