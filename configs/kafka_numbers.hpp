#pragma once

// How the rules read librdkafka properties in a document. Only for files of this folder.

#include "configs/schema.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace ziyu::configs {

/// A property as one client gets it.
struct given_property {
  std::string path; ///< The path of the key that sets it, e.g., "kafka.consumer.acks".
  std::string text;
};

/// The text that librdkafka gets for a value of the document.
std::string property_text(const nlohmann::json& x);

/// The property `name` of `client` ("consumer" or "producer"): its own, else the common one.
std::optional<given_property> find_property(const nlohmann::json& kafka, const char* client,
                                            const char* name);

/// Numeric properties as one client sees them: the common ones, then its own.
class client_numbers {
public:
  client_numbers(const nlohmann::json& kafka, const char* client)
    : kafka_(kafka), client_(client) {}

  struct number {
    std::string path; ///< The path of the key that sets it; empty for a default.
    int64_t value = 0;
  };

  /// The first of `names` (a property and its other names) that is set to a number. Fractions are
  /// rounded up; what is not finite counts as the largest number.
  std::optional<number> find(std::initializer_list<const char*> names) const;

  number find_or(const char* name, int64_t otherwise) const {
    return find({name}).value_or(number{{}, otherwise});
  }

private:
  const nlohmann::json& kafka_;
  const char* client_;
};

/// Adds a violation at the key that is set (`x`, or `other` if `x` is a default), since the user
/// looks there.
void refuse(std::vector<violation>& found, const client_numbers::number& x,
            const client_numbers::number& other, const std::string& reason);

/// A whole number of the (completed) document, e.g., of the keys "jobs" and "max_bytes"; 0 if the
/// document has none there.
int64_t number_at(const nlohmann::json& document, const char* section, const char* key);

} // namespace ziyu::configs
