#pragma once

#include "base/error.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace ziyu::configs {

/// Parses JSON with comments. The error has line and column. A key that occurs twice in one object
/// is an error, since one of its values would be lost.
expected<nlohmann::json> parse_document(const std::string& text);

/// Applies `key.path=value` to `document`. The value is parsed as JSON. It is a text where it is
/// not JSON or where the schema wants a text. Then variables in it are expanded.
expected<void> apply_override(const nlohmann::json& schema, nlohmann::json& document,
                              const std::string& assignment);

/// Replaces `${NAME}` by the environment and `$$` by a dollar sign in every text of
/// `document`. A name that is not set is an error with the path of the text.
std::vector<error> expand_environment(nlohmann::json& document);

} // namespace ziyu::configs
