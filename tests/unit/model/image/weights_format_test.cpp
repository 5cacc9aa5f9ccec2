#include "model/weights_format.hpp"

#include "base/file.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

using namespace ziyu;
using namespace ziyu::model;

namespace {

std::string number(uint64_t value, size_t bytes) {
  std::string result;
  for (size_t i = 0; i < bytes; ++i)
    result += static_cast<char>(value >> (8 * i));
  return result;
}

/// A ZIP archive of empty files; with `zip64` as PyTorch writes it above 4 GiB.
std::string archive(const std::vector<std::string>& names, bool zip64 = false) {
  std::string result, directory;
  for (const auto& name : names) {
    const auto offset = result.size();
    result += "PK\x03\x04" + std::string(22, '\0') + number(name.size(), 2) + number(0, 2) + name;
    directory += "PK\x01\x02" + std::string(24, '\0') + number(name.size(), 2)
                 + std::string(12, '\0') + number(offset, 4) + name;
  }
  const auto start = result.size();
  result += directory;
  if (zip64) {
    const auto record = result.size();
    result += "PK\x06\x06" + number(44, 8) + std::string(28, '\0') + number(directory.size(), 8)
              + number(start, 8);
    result += "PK\x06\x07" + number(0, 4) + number(record, 8) + number(1, 4);
    return result + "PK\x05\x06" + number(0, 8) + number(0xffffffff, 4) + number(0xffffffff, 4)
           + number(0, 2);
  }
  return result + "PK\x05\x06" + number(0, 8) + number(directory.size(), 4) + number(start, 4)
         + number(0, 2);
}

class WeightsFormat : public ::testing::Test {
protected:
  /// What is said of a file with this content; "" when nothing is.
  std::string said(std::string_view content, const std::string& name = "model.pt") {
    EXPECT_TRUE(write_file(dir.path() / name, content));
    return foreign_weights(dir.path() / name).value_or("");
  }

  void expect_said(std::string_view content, const std::string& part) {
    EXPECT_NE(said(content).find(part), std::string::npos) << said(content);
  }

  temp_dir dir;
};

} // namespace

TEST_F(WeightsFormat, SaysNothingOfTorchScript) {
  EXPECT_EQ(
    said(read_file(std::filesystem::path{test::source_dir()} / "models/digits/1/model.pt").value()),
    "");
  EXPECT_EQ(said(archive({"m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"})), "");
  EXPECT_EQ(said(archive({"m/data.pkl", "m/constants.pkl"}, true)), "");
}

TEST_F(WeightsFormat, SaysNothingOfWhatItDoesNotKnow) {
  EXPECT_EQ(said(""), "");
  EXPECT_EQ(said("weights"), "");
  EXPECT_EQ(foreign_weights(dir.path() / "none"), std::nullopt);
  // Cut off: an archive without its directory.
  EXPECT_EQ(said(archive({"m/data.pkl"}).substr(0, 30)), "");
}

TEST_F(WeightsFormat, TellsAStateDictAndNamesTheTool) {
  for (const bool zip64 : {false, true}) {
    const auto content = archive({"m/data.pkl", "m/byteorder", "m/data/0", "m/version"}, zip64);
    expect_said(content, "is a state dict or a pickled model");
    expect_said(content, "tools/export_model.py ARCHITECTURE --checkpoint FILE");
  }
  expect_said(std::string_view{"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46", 8}, "Python pickle");
  expect_said(number(64, 8) + "{\"head.bias\":{}}" + std::string(64, ' '), "is safetensors");
}

TEST_F(WeightsFormat, TellsProgramsOfTorchExport) {
  expect_said(archive({"m/archive_format", "m/models/model.json", "m/data/weights/w0"}),
              "program of torch.export (.pt2)");
  expect_said(archive({"serialized_exported_program.json", "serialized_state_dict.pt", "version"}),
              "program of torch.export (.pt2)");
  expect_said(archive({"m/archive_format", "m/data/aotinductor/model/x.so"}), "AOTInductor (.pt2)");
}

TEST_F(WeightsFormat, TellsFormatsOfOthers) {
  expect_said(std::string_view{"\x08\x08\x12\x07pytorch", 11}, "is ONNX, not TorchScript");
  expect_said(std::string_view{"\x08\x0a\x3a\x80\x01graph", 10}, "is ONNX, not TorchScript");
  EXPECT_NE(said(std::string_view{"\x08\x07\x6a\x01", 4}, "model.onnx"), "");
  expect_said("\x89HDF\r\n\x1a\n", "is HDF5");
  expect_said(std::string_view{"\x1c\0\0\0TFL3\0\0", 10}, "TensorFlow Lite");
  expect_said("GGUF\x03", "is GGUF");
  expect_said(archive({"config.json", "model.weights.h5"}), "Keras");
  expect_said(archive({"w.npy"}), "NumPy");
  expect_said(archive({"readme.txt"}), "ZIP archive without TorchScript");
}

TEST_F(WeightsFormat, TellsFilesThatStandForWeights) {
  expect_said("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS");
  expect_said("\n<!DOCTYPE html><html>", "web page");
}
