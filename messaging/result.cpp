#include "messaging/result.hpp"

#include <algorithm>
#include <charconv>
#include <type_traits>
#include <utility>

namespace ziyu::messaging {

using nlohmann::json;

namespace {

constexpr auto result_schema = "ziyu.result.v1";

/// Writes JSON without building its nodes: each job pays for it. Members come in the order of their
/// names, as in nlohmann's objects.
class text_writer {
public:
  explicit text_writer(std::string& out) : out_(out) {}

  template <class F>
  void object(F&& members) {
    out_ += '{';
    first_ = true;
    members();
    out_ += '}';
    first_ = false;
  }

  template <class F>
  void object(std::string_view name, F&& members) {
    begin(name);
    object(members);
  }

  template <class T, class F>
  void array(std::string_view name, const std::vector<T>& items, F&& members) {
    begin(name);
    out_ += '[';
    for (const auto& item : items) {
      if (&item != &items.front())
        out_ += ',';
      object([&] { members(item); });
    }
    out_ += ']';
  }

  template <class T>
  void operator()(std::string_view name, const T& value) {
    begin(name);
    if constexpr (std::is_same_v<T, bool>) {
      out_ += value ? "true" : "false";
    } else if constexpr (std::is_arithmetic_v<T>) {
      char digits[32];
      out_.append(digits, std::to_chars(digits, std::end(digits), value).ptr);
    } else {
      put(std::string_view{value});
    }
  }

private:
  void begin(std::string_view name) {
    if (!std::exchange(first_, false))
      out_ += ',';
    put(name);
    out_ += ':';
  }

  void put(std::string_view x) {
    const auto plain = [](unsigned char c) {
      return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    };
    if (std::all_of(x.begin(), x.end(), plain)) {
      out_ += '"';
      out_ += x;
      out_ += '"';
    } else {
      out_ += json(std::string{x}).dump(-1, ' ', false, json::error_handler_t::replace);
    }
  }

  std::string& out_;
  bool first_ = true;
};

} // namespace

std::string to_json_text(const result& x) {
  std::string text;
  text.reserve(768 + x.job_id.size() + 64 * x.top_k.size());
  text_writer out{text};
  out.object([&] {
    out("attempt", x.attempt);
    out("batch", x.batch);
    if (x.ok && !x.top_k.empty())
      out("confidence", x.top_k.front().confidence);
    out("duplicate_id", x.duplicate_id);
    if (!x.ok)
      out.object("error", [&] {
        out("code", to_string(x.reason.code));
        out("message", x.reason.message);
      });
    out("finished_ms", x.finished_ms);
    out.object("image", [&] {
      out("height", x.height);
      out("width", x.width);
    });
    out("job_id", x.job_id);
    if (x.ok && !x.top_k.empty())
      out("label", x.top_k.front().label);
    out.object("memory", [&] {
      out("delta_bytes", x.delta_bytes);
      out("live_bytes", x.live_bytes);
      out("private_bytes", x.private_bytes);
    });
    out.object("model", [&] {
      out("decode", x.model.decode);
      out("name", x.model.name);
      out("precision", x.model.precision);
      out("sha256", x.model.sha256);
      out("version", x.model.version);
    });
    out("schema", result_schema);
    out.object("source", [&] {
      out("offset", x.source.offset);
      out("partition", x.source.partition);
      out("topic", x.source.topic);
    });
    out("status", x.ok ? "ok" : "error");
    out.object("timings_ms", [&] {
      out("decode", x.decode_ms);
      out("inference", x.inference_ms);
      out("preprocess", x.preprocess_ms);
      out("queued", x.queued_ms);
      out("total", x.total_ms);
    });
    if (x.ok)
      out.array("top_k", x.top_k, [&](const scored_label& item) {
        out("confidence", item.confidence);
        out("index", item.index);
        out("label", item.label);
      });
    out.object("worker", [&] {
      out("generation", x.generation);
      out("pid", x.pid);
      out("slot", x.slot);
    });
  });
  return text;
}

expected<result> result_from_json(const json& x) {
  try {
    if (x.at("schema") != result_schema)
      return fail(errc::unknown_schema, "not a " + std::string{result_schema} + " record");
    result r;
    x.at("job_id").get_to(r.job_id);
    r.ok = x.at("status") == "ok";
    if (r.ok)
      for (const auto& item : x.at("top_k"))
        r.top_k.push_back({item.at("label"), item.at("confidence"), item.at("index")});
    const auto& model = x.at("model");
    r.model = {model.at("name"), model.at("version"), model.at("sha256"), model.at("precision"),
               model.value("decode", "exact")}; // older records have none
    const auto& worker = x.at("worker");
    worker.at("slot").get_to(r.slot);
    worker.at("generation").get_to(r.generation);
    worker.at("pid").get_to(r.pid);
    const auto& timings = x.at("timings_ms");
    timings.at("queued").get_to(r.queued_ms);
    timings.at("decode").get_to(r.decode_ms);
    timings.at("preprocess").get_to(r.preprocess_ms);
    timings.at("inference").get_to(r.inference_ms);
    timings.at("total").get_to(r.total_ms);
    x.at("image").at("width").get_to(r.width);
    x.at("image").at("height").get_to(r.height);
    const auto& memory = x.at("memory");
    memory.at("delta_bytes").get_to(r.delta_bytes);
    memory.at("live_bytes").get_to(r.live_bytes);
    memory.at("private_bytes").get_to(r.private_bytes);
    const auto& source = x.at("source");
    source.at("topic").get_to(r.source.topic);
    source.at("partition").get_to(r.source.partition);
    source.at("offset").get_to(r.source.offset);
    r.batch = x.value("batch", 1u); // results of earlier versions do not have it
    x.at("attempt").get_to(r.attempt);
    x.at("duplicate_id").get_to(r.duplicate_id);
    x.at("finished_ms").get_to(r.finished_ms);
    if (!r.ok) {
      from_string(x.at("error").at("code").get<std::string>(), r.reason.code);
      x.at("error").at("message").get_to(r.reason.message);
    }
    return r;
  } catch (const json::exception& e) {
    return fail(errc::unknown_schema, e.what());
  }
}

} // namespace ziyu::messaging
