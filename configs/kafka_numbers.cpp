#include "configs/kafka_numbers.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace ziyu::configs {

using nlohmann::json;

std::string property_text(const json& x) { return x.is_string() ? x.get<std::string>() : x.dump(); }

std::optional<given_property> find_property(const json& kafka, const char* client,
                                            const char* name) {
  if (const auto own = kafka.find(client); own != kafka.end() && own->is_object())
    if (const auto i = own->find(name); i != own->end())
      return given_property{std::string{"kafka."} + client + "." + name, property_text(*i)};
  if (const auto i = kafka.find(name); i != kafka.end())
    return given_property{std::string{"kafka."} + name, property_text(*i)};
  return std::nullopt;
}

namespace {

std::optional<int64_t> read_number(const std::string& text) {
  char* end = nullptr;
  const auto value = std::strtod(text.c_str(), &end);
  if (end == text.c_str() || *end != 0)
    return std::nullopt; // librdkafka, or the check of its spelling, reports it
  constexpr auto most = std::numeric_limits<int64_t>::max();
  constexpr double bound = 9e18;
  if (!std::isfinite(value) || value > bound)
    return most;
  return static_cast<int64_t>(std::ceil(std::max(value, -bound)));
}

} // namespace

std::optional<client_numbers::number> client_numbers::find(
  std::initializer_list<const char*> names) const {
  for (const auto* name : names)
    if (auto given = find_property(kafka_, client_, name)) {
      const auto value = read_number(given->text);
      return value ? std::optional{number{std::move(given->path), *value}} : std::nullopt;
    }
  return std::nullopt;
}

void refuse(std::vector<violation>& found, const client_numbers::number& x,
            const client_numbers::number& other, const std::string& reason) {
  const auto& path = x.path.empty() ? other.path : x.path;
  if (!path.empty()) // The defaults of two properties agree.
    found.push_back({path, path + "=" + std::to_string(x.path.empty() ? other.value : x.value)
                             + " is refused: " + reason});
}

int64_t number_at(const json& document, const char* section, const char* key) {
  const auto part = document.find(section);
  if (part == document.end() || !part->is_object())
    return 0;
  const auto i = part->find(key);
  return i != part->end() && i->is_number_integer() ? i->get<int64_t>() : 0;
}

} // namespace ziyu::configs
