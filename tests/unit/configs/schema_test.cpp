#include "configs/schema.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace ziyu::configs;
using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

std::vector<std::string> messages(const json& schema, const json& document) {
  std::vector<std::string> result;
  for (const auto& x : validate(schema, document))
    result.push_back(x.message);
  return result;
}

const auto nested = json::parse(R"({
  "type": "object", "additionalProperties": false,
  "properties": {
    "list": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["label"],
             "properties": {"label": {"type": "string"}}, "additionalProperties": false}},
    "kind": {"const": "a"},
    "free": {"type": "object", "properties": {"fixed": {"type": "integer", "default": 3}},
             "additionalProperties": {"type": ["string", "number"]}},
    "size": {"type": ["integer", "string"], "format": "bytes", "default": "1KiB"}
  }})");

} // namespace

TEST(Schema, FindsMistakesInsideOfLists) {
  EXPECT_THAT(
    messages(nested, json::parse(R"({"list": [{"label": "a"}, {"label": 1}, {"lable": "x"}]})")),
    ElementsAre("list[1].label: 1 is not a text", "list[2].label is missing",
                "unknown key list[2].lable: did you mean list[2].label?"));
  EXPECT_THAT(messages(nested, json::parse(R"({"list": []})")),
              ElementsAre("list: needs at least 1 entries"));
}

TEST(Schema, KnowsConstantsAndFreeKeys) {
  EXPECT_THAT(messages(nested, json::parse(R"({"kind": "b"})")),
              ElementsAre("kind: \"b\" is not \"a\""));
  EXPECT_THAT(messages(nested, json::parse(R"({"free": {"any.thing": "x", "fixed": 1}})")),
              IsEmpty());
  EXPECT_THAT(messages(nested, json::parse(R"({"free": {"any.thing": null}})")),
              ElementsAre("free.any.thing: null is not a text or a number"));
}

TEST(Schema, QuotesLongValuesOnlyInPart) {
  const auto found = messages(nested, json{{"list", std::string(1000, 'x')}});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_LT(found.front().size(), 120u);
}

TEST(Schema, CompletesWhatIsMissingAndNothingElse) {
  auto document = json::parse(R"({"free": {"mine": "x"}})");
  complete(nested, document);
  EXPECT_EQ(document, json::parse(R"({"free": {"mine": "x", "fixed": 3}, "size": 1024})"));
}

TEST(Schema, SplitsPathsWhereTheSchemaHasObjects) {
  EXPECT_THAT(split_path(nested, "free.a.b.c"), ElementsAre("free", "a.b.c"));
  EXPECT_THAT(split_path(nested, "free.fixed"), ElementsAre("free", "fixed"));
  EXPECT_THAT(split_path(nested, "size"), ElementsAre("size"));
  EXPECT_THAT(split_path(nested, "no.such.key"), ElementsAre("no", "such", "key"));
}
