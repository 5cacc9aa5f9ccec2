#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace ziyu::configs {

/// One way in which a document breaks its schema.
struct violation {
  std::string path;    ///< The key, e.g., "workers.slots" or "top_k[0].label".
  std::string message; ///< One line that names the path and what is expected.
};

/// Checks `document` against a schema and finds every violation, not only the first. The
/// schema may use this part of JSON Schema 2020-12: type, const, enum, properties,
/// required, additionalProperties, propertyNames (pattern only), items, minItems,
/// minLength, minimum, maximum, exclusiveMinimum, exclusiveMaximum, pattern; and
/// `"format": "bytes"`, an amount as a whole number or as a text for `parse_bytes`.
/// Everything else is ignored. The message for an unknown key names the nearest known
/// one.
std::vector<violation> validate(const nlohmann::json& schema, const nlohmann::json& document);

/// Adds the `default` of each property that `document` lacks (objects of
/// properties are made as needed) and turns valid amounts of bytes into numbers.
void complete(const nlohmann::json& schema, nlohmann::json& document);

/// The part of `schema` that describes the value at `keys` (see `split_path`), or
/// null when there is none.
const nlohmann::json* subschema(const nlohmann::json& schema, const std::vector<std::string>& keys);

/// Splits "workers.slots" into its keys. A property of an object with free additional
/// properties keeps its dots: "kafka.bootstrap.servers" is "kafka" and
/// "bootstrap.servers".
std::vector<std::string> split_path(const nlohmann::json& schema, const std::string& path);

/// The text of configs/event.schema.json, compiled into the program.
const char* event_schema_text() noexcept;

/// The event types that the event schema lists.
std::vector<std::string> event_types();

} // namespace ziyu::configs
