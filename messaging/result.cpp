#include "messaging/result.hpp"

namespace ziyu::messaging {

using nlohmann::json;

namespace {

constexpr auto result_schema = "ziyu.result.v1";

} // namespace

json to_json_value(const result& x) {
  auto document = json{
    {"schema", result_schema},
    {"job_id", x.job_id},
    {"status", x.ok ? "ok" : "error"},
    {"model",
     {{"name", x.model.name},
      {"version", x.model.version},
      {"sha256", x.model.sha256},
      {"precision", x.model.precision}}},
    {"worker", {{"slot", x.slot}, {"generation", x.generation}, {"pid", x.pid}}},
    {"timings_ms",
     {{"queued", x.queued_ms},
      {"decode", x.decode_ms},
      {"preprocess", x.preprocess_ms},
      {"inference", x.inference_ms},
      {"total", x.total_ms}}},
    {"image", {{"width", x.width}, {"height", x.height}}},
    {"memory",
     {{"delta_bytes", x.delta_bytes},
      {"live_bytes", x.live_bytes},
      {"private_bytes", x.private_bytes}}},
    {"source",
     {{"topic", x.source.topic}, {"partition", x.source.partition}, {"offset", x.source.offset}}},
    {"attempt", x.attempt},
    {"duplicate_id", x.duplicate_id},
    {"finished_ms", x.finished_ms},
  };
  if (x.ok) {
    auto list = json::array();
    for (const auto& item : x.top_k)
      list.push_back(
        {{"label", item.label}, {"confidence", item.confidence}, {"index", item.index}});
    if (!x.top_k.empty()) {
      document["label"] = x.top_k.front().label;
      document["confidence"] = x.top_k.front().confidence;
    }
    document["top_k"] = std::move(list);
  } else {
    document["error"] = {{"code", to_string(x.reason.code)}, {"message", x.reason.message}};
  }
  return document;
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
    r.model = {model.at("name"), model.at("version"), model.at("sha256"), model.at("precision")};
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
