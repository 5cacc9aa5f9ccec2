#pragma once

#include "base/file.hpp"
#include "base/text.hpp"
#include "model/compiled/host.hpp"
#include "support/conduct.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/script.h>

#include <filesystem>
#include <string>

namespace ziyu::test {

using nlohmann::json;

/// A model folder whose TorchScript answers the first two numbers of each row, times 3, and a
/// package for it, made by hand (tests/workers/compiled_code.cpp).
struct compiled_folder {
  compiled_folder() {
    std::filesystem::create_directories(folder);
    torch::jit::Module module{"m"};
    module.register_attribute("training", c10::BoolType::get(), true);
    // Slow, so that the package is faster on any machine.
    module.define("def forward(self, x):\n  y = x.flatten(1).narrow(1, 0, 2) * 3.0\n"
                  "  for i in range(4000):\n    y = y + 0.0\n  return y\n");
    module.save((folder / "model.pt").string());
    sha256 = sha256_file((folder / "model.pt").string()).value();
    write(folder / "labels.txt", "猫\n狗\n");
    write(folder / "model.json", json{{"schema", "ziyu.model/1"},
                                      {"name", "m"},
                                      {"version", "1"},
                                      {"weights", "model.pt"},
                                      {"sha256", sha256},
                                      {"precision", "fp32"},
                                      {"labels", "labels.txt"},
                                      {"classes", 2},
                                      {"input",
                                       {{"channels", "grey"},
                                        {"height", 4},
                                        {"width", 4},
                                        {"squash", true},
                                        {"interpolation", "bilinear"},
                                        {"mean", {0}},
                                        {"std", {1}}}}}
                                   .dump());
    put_package();
  }

  static void write(const std::filesystem::path& file, std::string_view content) {
    ASSERT_TRUE(write_file(file, content));
  }

  std::filesystem::path place(const model::compiled::host& of,
                              const std::string& precision = "fp32") const {
    return folder / "compiled" / sha256.substr(0, 16) / of.folder() / precision;
  }

  /// With code for 1 and 2 images.
  void put_package(float scale = 3, conduct how = well, const std::string& precision = "fp32") {
    const auto at = place(here, precision);
    std::filesystem::create_directories(at);
    const float values[] = {scale, static_cast<float>(how)};
    write(at / "constants.bin", {reinterpret_cast<const char*>(values), sizeof values});
    auto constants = json::array();
    for (const auto* name : {"scale", "conduct"})
      constants.push_back({{"name", name},
                           {"dtype", "float32"},
                           {"at", constants.size() * 4},
                           {"bytes", 4},
                           {"shape", {1}},
                           {"stride", {1}},
                           {"offset", 0},
                           {"layout", "strided"},
                           {"metadata", ""}});
    description = {{"schema", "ziyu.compiled/1"},
                   {"sha256", sha256},
                   {"host",
                    {{"vendor", here.vendor},
                     {"family", here.family},
                     {"model", here.model},
                     {"isa", here.isa},
                     {"torch", here.torch}}},
                   {"precision", precision},
                   {"constants", "constants.bin"},
                   {"batches", json::array()}};
    for (const auto rows : {1, 2}) {
      const auto library = std::to_string(rows) + ".so";
      std::filesystem::copy_file(program_dir() + "/compiled_code.so", at / library,
                                 std::filesystem::copy_options::overwrite_existing);
      description["batches"].push_back(
        {{"rows", rows}, {"library", library}, {"constants", constants}});
    }
    write(at / "package.json", description.dump());
  }

  /// Bitmaps of 4 x 4 pixels, of which the first two differ.
  void put_agreement(int count) const {
    std::filesystem::create_directories(folder / "agreement");
    for (auto i = 0; i < count; ++i) {
      // A header of 54 bytes: the size of the file, where the pixels begin, 40 bytes that say 4 x 4
      // of 24 bits. Rows come from below.
      std::string bytes = "BM";
      for (const uint32_t x : {102u, 0u, 54u, 40u, 4u, 4u, 24u << 16 | 1u, 0u, 48u, 0u, 0u, 0u, 0u})
        bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
      bytes.append(48, '\0');
      bytes.replace(54 + 36 + i % 2 * 3, 3, 3, static_cast<char>(255 - i));
      write(folder / "agreement" / (std::to_string(i) + ".bmp"), bytes);
    }
  }

  temp_dir dir;
  std::filesystem::path folder = dir.path() / "m/1";
  std::string sha256;
  model::compiled::host here = model::compiled::this_host();
  json description; ///< The content of package.json.
};

} // namespace ziyu::test
