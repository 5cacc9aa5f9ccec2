#include "model/model_folder.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>

using namespace ziyu;
using namespace ziyu::model;
using nlohmann::json;

namespace {

/// A model folder that is in order as far as `read_model_folder` looks: the
/// weights are a few bytes. Each test breaks one thing.
class ModelFolder : public ::testing::Test {
protected:
  ModelFolder() {
    write("model.pt", "weights");
    write("labels.txt", "金毛犬\n猫\n");
    description = {{"schema", "ziyu.model/1"},
                   {"name", "pets"},
                   {"version", "3"},
                   {"weights", "model.pt"},
                   {"sha256", sha256_hex("weights")},
                   {"precision", "fp32"},
                   {"labels", "labels.txt"},
                   {"classes", 2},
                   {"input",
                    {{"channels", "rgb"},
                     {"height", 224},
                     {"width", 224},
                     {"resize", 256},
                     {"interpolation", "bilinear"},
                     {"mean", {0.485, 0.456, 0.406}},
                     {"std", {0.229, 0.224, 0.225}}}}};
  }

  void write(const std::string& name, std::string_view content) {
    ASSERT_TRUE(write_file(dir.path() / name, content));
  }

  expected<model_folder> read() {
    write("model.json", description.dump());
    return read_model_folder(dir.path());
  }

  /// Expects `code` and that the message holds `part`.
  void expect_error(errc code, const std::string& part) {
    const auto result = read();
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error().code), to_string(code));
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }

  temp_dir dir;
  json description;
};

} // namespace

TEST_F(ModelFolder, IsReadInFull) {
  description["held_out_accuracy"] = 0.98;
  const auto folder = read();
  ASSERT_TRUE(folder) << folder.error().describe();
  EXPECT_EQ(folder->name, "pets");
  EXPECT_EQ(folder->version, "3");
  EXPECT_EQ(folder->precision, "fp32");
  EXPECT_EQ(folder->sha256, sha256_hex("weights"));
  EXPECT_EQ(folder->weights, dir.path() / "model.pt");
  EXPECT_EQ(folder->labels, (std::vector<std::string>{"金毛犬", "猫"}));
  EXPECT_DOUBLE_EQ(folder->held_out_accuracy, 0.98);
  EXPECT_EQ(folder->input.channels, preprocessing::colour::rgb);
  EXPECT_EQ(folder->input.resize, 256u);
  EXPECT_EQ(folder->input.crop_width, 224u);
  EXPECT_FALSE(folder->input.squash);
  EXPECT_FALSE(folder->input.invert);
  EXPECT_EQ(folder->input.filter, preprocessing::interpolation::bilinear);
  EXPECT_FLOAT_EQ(folder->input.stddev[2], 0.225f);
}

TEST_F(ModelFolder, MayHaveCommentsAndAByteOrderMark) {
  write("model.json", "// pets\n" + description.dump());
  write("labels.txt", "\xef\xbb\xbf金毛犬\r\n猫");
  const auto folder = read_model_folder(dir.path());
  ASSERT_TRUE(folder) << folder.error().describe();
  EXPECT_EQ(folder->labels, (std::vector<std::string>{"金毛犬", "猫"}));
}

TEST_F(ModelFolder, RefusesADescriptionThatAParserWouldReadInPart) {
  write("model.json", description.dump() + std::string{"\0 and more", 10});
  auto refused = read_model_folder(dir.path());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("is a zero byte"), std::string::npos)
    << refused.error().message;
  write("model.json", "{\"name\": \"other\", " + description.dump().substr(1));
  refused = read_model_folder(dir.path());
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("the key \"name\" is written twice"), std::string::npos)
    << refused.error().message;
  write("model.json", "[1]");
  EXPECT_NE(read_model_folder(dir.path()).error().message.find("the whole must be an object"),
            std::string::npos);
  write("model.json", "{\"mean\": [NaN]}");
  EXPECT_NE(read_model_folder(dir.path()).error().message.find("model.json: is not JSON: parse"),
            std::string::npos)
    << read_model_folder(dir.path()).error().message;
}

TEST_F(ModelFolder, IsMissing) {
  const auto result = read_model_folder(dir.path() / "none");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::model_missing);
  EXPECT_NE(result.error().message.find("tools/export_model.py"), std::string::npos);
}

TEST_F(ModelFolder, LacksAFile) {
  const auto none = read_model_folder(dir.path());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, errc::model_missing);
  std::filesystem::remove(dir.path() / "labels.txt");
  expect_error(errc::model_missing, "labels.txt");
  write("labels.txt", "金毛犬\n猫\n");
  std::filesystem::remove(dir.path() / "model.pt");
  expect_error(errc::model_missing, "model.pt");
}

TEST_F(ModelFolder, HasOtherWeightsThanDescribed) {
  write("model.pt", "weightz");
  expect_error(errc::model_corrupt, sha256_hex("weightz"));
}

TEST_F(ModelFolder, HasTooFewLabels) {
  write("labels.txt", "金毛犬\n");
  expect_error(errc::labels_mismatch, "has 1 labels");
}

TEST_F(ModelFolder, HasAnEmptyLabel) {
  write("labels.txt", "金毛犬\n\n猫\n");
  expect_error(errc::labels_mismatch, "line 2 is empty");
}

TEST_F(ModelFolder, HasALabelThatIsNotUtf8) {
  write("labels.txt", "金毛犬\n\xc3\x28\n");
  expect_error(errc::labels_mismatch, "line 2 is not UTF-8");
}

TEST_F(ModelFolder, IsNotJson) {
  write("model.json", "{\"schema\": ");
  const auto result = read_model_folder(dir.path());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, errc::model_corrupt);
}

TEST_F(ModelFolder, IsOfAnotherSchema) {
  description["schema"] = "ziyu.model/2";
  expect_error(errc::model_corrupt, "ziyu.model/2");
}

TEST_F(ModelFolder, NamesTheWrongKey) {
  auto& input = description["input"];
  input["interpolation"] = "nearest";
  expect_error(errc::model_corrupt, "input.interpolation is \"nearest\"");
  input["interpolation"] = "bicubic";
  input["std"] = {0.2, 0.2};
  expect_error(errc::model_corrupt, "input.std must be a list of 3");
  input["std"] = {0.2, 0, 0.2};
  expect_error(errc::model_corrupt, "input.std must be a list of 3");
  input["std"] = {0.2, 0.2, 0.2};
  input["height"] = 0;
  expect_error(errc::model_corrupt, "input.height");
  input["height"] = -224;
  expect_error(errc::model_corrupt, "input.height");
  input["height"] = "224";
  expect_error(errc::model_corrupt, "input.height");
  input.erase("height");
  expect_error(errc::model_corrupt, "input.height is missing");
  input["height"] = 224;
  input["squash"] = true;
  expect_error(errc::model_corrupt, "exclude each other");
}

TEST_F(ModelFolder, SuggestsTheKeyThatWasMeant) {
  description["input"]["interpolatoin"] = "bilinear";
  expect_error(errc::model_corrupt, "did you mean \"interpolation\"");
}

TEST_F(ModelFolder, SaysWhatAnEmptyOrMalformedSha256MustBe) {
  for (const std::string& wrong :
       {std::string{}, std::string{"abc"}, std::string{"sha256:0123"}, std::string(64, 'g')}) {
    description["sha256"] = wrong;
    expect_error(errc::model_corrupt, wrong.empty() ? "sha256 is empty" : "\"" + wrong + "\"");
    expect_error(errc::model_corrupt, sha256_hex("weights"));
  }
  description["sha256"] = 7;
  expect_error(errc::model_corrupt, "sha256 must be a text");
  auto upper = sha256_hex("weights");
  std::transform(upper.begin(), upper.end(), upper.begin(),
                 [](unsigned char c) { return std::toupper(c); });
  description["sha256"] = upper;
  const auto folder = read();
  ASSERT_TRUE(folder) << folder.error().describe();
  EXPECT_EQ(folder->sha256, sha256_hex("weights"));
}

TEST_F(ModelFolder, AnswersBySoftmaxUnlessItSaysOtherwise) {
  EXPECT_EQ(read()->output, activation::softmax);
  EXPECT_FALSE(read()->threshold);
  description["activation"] = "softmax";
  EXPECT_EQ(read()->output, activation::softmax);
  description["activation"] = "none";
  EXPECT_EQ(read()->output, activation::none);
  description["activation"] = "sigmoid";
  description["threshold"] = 0.25;
  const auto folder = read();
  ASSERT_TRUE(folder) << folder.error().describe();
  EXPECT_EQ(folder->output, activation::sigmoid);
  EXPECT_FLOAT_EQ(folder->threshold.value(), 0.25f);
}

TEST_F(ModelFolder, RefusesAThresholdThatMeansNothing) {
  description["threshold"] = 0.5;
  expect_error(errc::model_corrupt, "threshold requires \"activation\": \"sigmoid\"");
  description["activation"] = "sigmoid";
  for (const json& wrong : {json(1.5), json(-0.1), json("0.5"), json(nullptr)}) {
    description["threshold"] = wrong;
    expect_error(errc::model_corrupt, "threshold must be a number from 0 to 1");
  }
  description["activation"] = "none";
  description["threshold"] = -3.5; // Of raw scores any number may be the bound.
  EXPECT_TRUE(read());
  description["activation"] = "sigmod";
  expect_error(errc::model_corrupt, "activation is \"sigmod\" but must be one of");
}

TEST_F(ModelFolder, MayHaveOneClassWhereItHasANumberOfItsOwn) {
  write("labels.txt", "瑕疵\n");
  description["classes"] = 1;
  expect_error(errc::model_corrupt, "classes must be a whole number from 2");
  description["activation"] = "sigmoid";
  EXPECT_TRUE(read());
}

TEST_F(ModelFolder, ReadsABoxHowItIsFittedAndWhatPadsIt) {
  auto& input = description["input"];
  input["resize"] = {292, 320};
  input["fit"] = "contain";
  input["fill"] = {124, 116, 104};
  input["crop_rounding"] = "down";
  const auto folder = read();
  ASSERT_TRUE(folder) << folder.error().describe();
  EXPECT_EQ(folder->input.resize, 0u);
  EXPECT_EQ(folder->input.resize_height, 292u);
  EXPECT_EQ(folder->input.resize_width, 320u);
  EXPECT_EQ(folder->input.fit, preprocessing::fitting::contain);
  EXPECT_EQ(folder->input.fill, (std::array<uint8_t, 3>{124, 116, 104}));
  EXPECT_TRUE(folder->input.crops_down);
}

TEST_F(ModelFolder, RefusesABoxThatIsNotWhole) {
  auto& input = description["input"];
  input["resize"] = {292, 292};
  expect_error(errc::model_corrupt, "input.fit is missing");
  input["fit"] = "stretch";
  expect_error(errc::model_corrupt, "input.fit is \"stretch\"");
  input["fit"] = "squash";
  input["resize"] = {292};
  expect_error(errc::model_corrupt, "input.resize must be a list of 2");
  input["resize"] = {292, 0};
  expect_error(errc::model_corrupt, "input.resize must be a list of 2");
  input["resize"] = 256;
  expect_error(errc::model_corrupt, "input.fit requires input.resize as a list");
  input.erase("fit");
  input["fill"] = {0, 0, 256};
  expect_error(errc::model_corrupt, "input.fill must be a list of 3 whole numbers from 0 to 255");
  input.erase("fill");
  input["crop_rounding"] = "up";
  expect_error(errc::model_corrupt, "input.crop_rounding is \"up\"");
}

TEST_F(ModelFolder, NamesTheEncodingOfLabelsThatAreNotUtf8) {
  write("labels.txt", "\xbd\xf0\xc3\xab\xc8\xae\n\xc3\xa8\n"); // 金毛犬, 猫
  expect_error(errc::labels_mismatch, "iconv -f GBK -t UTF-8");
}

TEST_F(ModelFolder, NamesTheFormatOfOtherWeightsWhateverTheirSha256) {
  write("model.pt", std::string_view{"\x08\x08\x12\x07pytorch", 11});
  expect_error(errc::model_mismatch, "model.pt is ONNX, not TorchScript");
}

TEST_F(ModelFolder, WarnsOfLabelsThatLookLikeAMistake) {
  EXPECT_TRUE(read()->warnings.empty());
  write("labels.txt", "0,猫\n1,猫\n");
  ASSERT_EQ(read()->warnings.size(), 1u);
  EXPECT_NE(read()->warnings[0].find("begins with its number"), std::string::npos);
  write("labels.txt", "猫\n猫\n");
  ASSERT_EQ(read()->warnings.size(), 1u);
  EXPECT_NE(read()->warnings[0].find("\"猫\" stands for the classes 0 and 1"), std::string::npos);
}

TEST_F(ModelFolder, NamesNoFileOutsideOfIt) {
  description["weights"] = "../model.pt";
  expect_error(errc::model_corrupt, "weights must be the name of a file in the same folder");
}
