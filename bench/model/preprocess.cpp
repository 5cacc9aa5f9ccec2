// What each stage of decoding and preprocessing costs, per image. One JSON object. All variants
// take turns, so that their ratios are those of one run.

#include "model/preprocess.hpp"
#include "model/geometry.hpp"
#include "model/predictor.hpp"
#include "model/resample.hpp"
#include "support/encoded_jpeg.hpp"

#include <ATen/core/Tensor.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <sstream>

namespace {

using namespace ziyu;
using namespace ziyu::model;
using nlohmann::json;

/// A gradient with noise, as a JPEG of 4:2:0 and quality 80.
std::string photograph(uint32_t width, uint32_t height) {
  std::mt19937 random{width};
  return test::encoded_jpeg(
    width, height, 3, 80, [](jpeg_compress_struct&) {},
    [&](uint32_t y, std::vector<uint8_t>& row) {
      for (uint32_t x = 0; x < width; ++x)
        for (uint32_t c = 0; c < 3; ++c)
          row[3 * x + c] = static_cast<uint8_t>(
            128 + 90 * std::sin((x + 40.0 * c) / width * 5) * std::cos(3.0 * y / height)
            + static_cast<int>(random() % 16));
    });
}

struct variant {
  std::string name;
  std::function<void()> run;
  std::vector<double> us{};
};

/// Runs the variants in turn for as long as asked; the median of each in microseconds.
json measured(std::vector<variant> variants, double seconds) {
  using clock = std::chrono::steady_clock;
  const auto began = clock::now();
  for (auto& x : variants)
    x.run(); // warms caches
  do {
    for (auto& x : variants) {
      const auto start = clock::now();
      x.run();
      x.us.push_back(std::chrono::duration<double, std::micro>(clock::now() - start).count());
    }
  } while (clock::now() - began < std::chrono::duration<double>{seconds});
  json result;
  for (auto& x : variants) {
    const auto middle = x.us.begin() + static_cast<std::ptrdiff_t>(x.us.size() / 2);
    std::nth_element(x.us.begin(), middle, x.us.end());
    result[x.name] = std::round(*middle * 10) / 10;
  }
  return result;
}

json of_image(uint32_t width, uint32_t height, const preprocessing& how, double seconds) {
  const auto bytes = photograph(width, height);
  const auto whole = decode_image(bytes).value();
  const auto where = place(width, height, how);
  const resample_window window{where.full_width, where.full_height,  where.across.from,
                               where.down.from,  where.across.count, where.down.count};
  const auto ignore = [](uint32_t, const uint8_t*) {};
  std::vector<variant> variants{{"decode_full", [&] { decode_image(bytes).value(); }}};
  for (const auto* by : {&scalar_kernels(), avx2_kernels(), avx512_kernels()})
    if (by != nullptr)
      variants.push_back({std::string{"resample_"} + by->name,
                          [&, by] { resample(whole, false, window, how.filter, ignore, *by); }});
  const preprocessor to_fp32{how}, to_bf16{how, precision::bf16};
  auto row32 = to_fp32.batch(1), row16 = to_bf16.batch(1);
  variants.push_back({"preprocess_fp32", [&] { to_fp32.preprocess(whole, row32, 0); }});
  variants.push_back({"preprocess_bf16", [&] { to_bf16.preprocess(whole, row16, 0); }});
  // From the encoded image to the model's input.
  const auto prepare = [&](const decode_purpose& purpose) {
    to_fp32.preprocess(decode_image(bytes, {}, purpose).value(), row32, 0);
  };
  variants.push_back({"prepare_full", [&] { prepare({}); }});
  variants.push_back({"prepare_exact", [&] { prepare({&how}); }});
  variants.push_back({"prepare_reduced", [&] { prepare({&how, decoding::reduced}); }});
  auto us = measured(std::move(variants), seconds);
  json ratios;
  for (const auto* name : {"resample_avx2", "resample_avx512"})
    if (us.contains(name))
      ratios[std::string{name} + "_of_scalar"] = us[name].get<double>()
                                                 / us["resample_scalar"].get<double>();
  for (const auto* name : {"prepare_exact", "prepare_reduced"})
    ratios[std::string{name} + "_of_full"] = us[name].get<double>()
                                             / us["prepare_full"].get<double>();
  return {
    {"width", width}, {"height", height}, {"bytes", bytes.size()}, {"us", us}, {"ratios", ratios}};
}

/// The processor's name, and what it has of the instructions that kernels use.
json processor() {
  std::ifstream in{"/proc/cpuinfo"};
  json result;
  for (std::string line; std::getline(in, line) && !result.contains("isa");) {
    const auto value = line.substr(std::min(line.size(), line.find(':') + 2));
    if (line.starts_with("model name"))
      result["cpu"] = value;
    if (!line.starts_with("flags"))
      continue;
    auto& isa = result["isa"] = json::array();
    std::istringstream flags{value};
    for (std::string flag; flags >> flag;)
      if (flag == "avx2" || flag == "avx512bw" || flag == "avx512_vnni")
        isa.push_back(flag);
  }
  return result;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures the stages of decoding and preprocessing."};
  double seconds = 2;
  uint32_t edge = 224, resize = 256;
  app.add_option("--seconds", seconds, "How long for each image (default 2)");
  app.add_option("--input", edge, "Width and height of the model's input (default 224)");
  app.add_option("--resize", resize, "The shorter edge before the crop (default 256)");
  CLI11_PARSE(app, argc, argv);
  use_one_thread();
  preprocessing how;
  how.resize = resize;
  how.crop_width = how.crop_height = edge;
  how.mean = {0.485f, 0.456f, 0.406f};
  how.stddev = {0.229f, 0.224f, 0.225f};
  auto result = processor();
  result["kernels"] = best_kernels().name;
  auto& images = result["images"] = json::array();
  for (const auto& [width, height] :
       {std::pair{500u, 375u}, {768u, 1024u}, {1920u, 1080u}, {4000u, 3000u}})
    images.push_back(of_image(width, height, how, seconds));
  std::cout << result.dump(2) << '\n';
  return 0;
}
