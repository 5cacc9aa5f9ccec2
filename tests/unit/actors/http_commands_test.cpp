#include "actors/http_commands.hpp"

#include "base/file.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace ziyu::actors {

namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Models : public testing::Test {
protected:
  Models() {
    for (const auto* version : {"1", "2", "版本三", "no model"})
      fs::create_directories(folder_.path() / "digits" / version);
    for (const auto* version : {"1", "2", "版本三"})
      std::ignore = write_file(folder_.path() / "digits" / version / "model.json", "{}");
  }

  expected<rollout_request> parse(const std::string& body, const char* model = "digits/1") {
    return parse_rollout(body, folder_.path() / model);
  }

  temp_dir folder_{"ziyu-models"};
};

} // namespace

TEST_F(Models, AFolderBesideThePresentOneMayBeRolledOut) {
  for (const auto* model : {"digits/1", "digits/1/", "digits/./1", "digits/2/../1"}) {
    const auto found = parse(R"({"version": "2"})", model);
    ASSERT_TRUE(found) << model << ": " << found.error().message;
    EXPECT_EQ(found->folder, (folder_.path() / "digits/2").string());
  }
  EXPECT_TRUE(parse(R"({"version": "版本三"})"));
  EXPECT_TRUE(parse(R"({"version": "1"})")) << "the present one, loaded again";
}

TEST_F(Models, NoOtherFolderOfTheMachineIsLoaded) {
  for (const auto* version :
       {"", ".", "..", "../digits/2", "/tmp", "2/", "2/.", "a/b", "2\\u0000", "9"}) {
    const auto found = parse(std::string{R"({"version": ")"} + version + "\"}");
    ASSERT_FALSE(found) << version;
    EXPECT_THAT(found.error().message, HasSubstr("there is no version")) << version;
    EXPECT_THAT(found.error().message, HasSubstr("but 1, 2, 版本三")) << version;
  }
  EXPECT_FALSE(parse("{\"version\": \"" + std::string(300, 'x') + "\"}"));
}

TEST_F(Models, AnythingElseIsRefusedWithTheFormThatIsExpected) {
  for (const auto* body : {"", "[]", "{}", "null", R"({"version": 2})", R"({"version": ["2"]})",
                           R"({"Version": "2"})", "{\"version\": \"2\""}) {
    const auto found = parse(body);
    ASSERT_FALSE(found) << body;
    EXPECT_THAT(found.error().message, HasSubstr(R"({"version": "2"})")) << body;
  }
}

TEST(HttpCommands, OnlyThisMachineMayOrderAnything) {
  http_request x;
  x.method = "POST";
  x.headers.emplace_back("content-length", "2");
  for (const auto* path : {"/breaker", "/models"}) {
    x.path = path;
    EXPECT_TRUE(is_command(x));
    for (const auto* from : {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"}) {
      x.from = from;
      EXPECT_FALSE(refuse_command(x)) << from;
    }
    for (const auto* from : {"10.0.0.1", "::ffff:10.0.0.1", "fe80::1", ""}) {
      x.from = from;
      ASSERT_TRUE(refuse_command(x)) << from;
      EXPECT_EQ(refuse_command(x)->status, 403);
    }
  }
  x.from = "127.0.0.1";
  x.headers.emplace_back("origin", "http://localhost");
  EXPECT_EQ(refuse_command(x)->status, 403);
  x.path = "/workers";
  EXPECT_FALSE(is_command(x));
  EXPECT_EQ(methods_of("/workers"), "GET, HEAD");
  EXPECT_EQ(methods_of("/models"), "GET, HEAD, POST");
}

} // namespace ziyu::actors
