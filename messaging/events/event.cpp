#include "messaging/events/event.hpp"

#include <array>

namespace ziyu::events {

using nlohmann::json;

namespace {

constexpr std::string_view schema = "ziyu.event.v1";

template <class... Ts>
constexpr std::array<std::string_view, sizeof...(Ts)> types_of(const std::variant<Ts...>*) {
  return {Ts::type...};
}

constexpr auto all_types = types_of(static_cast<const body*>(nullptr));

/// The type at index `i` of `body`, with its default values.
template <size_t I = 0>
body made(size_t i) {
  if constexpr (I + 1 < std::variant_size_v<body>)
    return i == I ? body{std::in_place_index<I>} : made<I + 1>(i);
  else
    return body{std::in_place_index<I>};
}

const json& member(const json& x, const char* name) {
  static const json nothing;
  const auto i = x.find(name);
  return i == x.end() ? nothing : *i;
}

} // namespace

// -- parts with a form of their own --------------------------------------------------------

json series::to_json() const {
  auto rows = json::array();
  for (const auto& x : points)
    rows.push_back({x.job, x.delta_bytes, x.live_bytes, x.private_bytes});
  return {{"columns", {"job", "delta_bytes", "live_bytes", "private_bytes"}},
          {"rows", std::move(rows)}};
}

void series::read(const json& from) {
  points.clear();
  const auto &columns = member(from, "columns"), &rows = member(from, "rows");
  if (!columns.is_array() || !rows.is_array())
    return;
  // By name: another version may have more columns.
  const auto index_of = [&columns](std::string_view name) {
    size_t i = 0;
    while (i < columns.size() && !(columns[i].is_string() && columns[i].get<std::string>() == name))
      ++i;
    return i;
  };
  const auto job = index_of("job"), delta = index_of("delta_bytes"), live = index_of("live_bytes"),
             own = index_of("private_bytes");
  for (const auto& row : rows) {
    const auto cell = [&row](size_t i, auto& to) {
      if (row.is_array() && i < row.size())
        detail::decode(row[i], to);
    };
    auto& x = points.emplace_back();
    cell(job, x.job);
    cell(delta, x.delta_bytes);
    cell(live, x.live_bytes);
    cell(own, x.private_bytes);
  }
}

json stop_stages::to_json() const {
  auto result = json::object();
  for (const auto& x : stages)
    result[x.name] = {{"limit_ms", x.limit_ms}, {"ms", x.ms}, {"done", x.done}};
  return result;
}

void stop_stages::read(const json& from) {
  stages.clear();
  if (!from.is_object())
    return;
  for (const auto& [name, value] : from.items()) {
    stage x;
    x.name = name;
    detail::decode(member(value, "limit_ms"), x.limit_ms);
    detail::decode(member(value, "ms"), x.ms);
    detail::decode(member(value, "done"), x.done);
    stages.push_back(std::move(x));
  }
}

// -- events ----------------------------------------------------------------------------------

std::span<const std::string_view> types() { return all_types; }

std::string_view type_of(const body& x) { return all_types.at(x.index()); }

severity level_of(const body& x) {
  return std::visit([](const auto& y) { return y.level(); }, x);
}

json detail_of(const body& x) {
  return std::visit([](const auto& y) { return detail::encoded(y); }, x);
}

json to_json(const model_version& x) { return detail::encoded(x); }
json to_json(const evidence& x) { return detail::encoded(x); }

json to_json(const std::vector<site>& x) { return detail::encoded(x); }

json to_json(const event& x) {
  return {{"schema", schema},
          {"type", type_of(x.body)},
          {"time_ms", x.time_ms},
          {"instance", x.instance},
          {"detail", detail_of(x.body)}};
}

expected<event> event_from_json(const json& x) {
  std::string type;
  if (!detail::decode(member(x, "type"), type))
    return fail(errc::unknown_schema, "the record is no event: it has no type");
  const auto found = std::find(all_types.begin(), all_types.end(), type);
  if (found == all_types.end())
    return fail(errc::unknown_schema, "unknown type of event: " + type);
  event result;
  detail::decode(member(x, "time_ms"), result.time_ms);
  detail::decode(member(x, "instance"), result.instance);
  result.body = made(static_cast<size_t>(found - all_types.begin()));
  std::visit([&](auto& y) { detail::decode(member(x, "detail"), y); }, result.body);
  return result;
}

} // namespace ziyu::events
