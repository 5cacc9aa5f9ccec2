#pragma once

#include "base/file.hpp"
#include "support/places.hpp"

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ziyu::test {

/// The model of digits in this repository.
inline std::filesystem::path digits_model() {
  return std::filesystem::path{source_dir()} / "models/digits/1";
}

/// Its 360 held-out images, by name.
inline std::vector<std::filesystem::path> held_out_digits() {
  std::vector<std::filesystem::path> files;
  for (const auto& x : std::filesystem::directory_iterator{std::filesystem::path{source_dir()}
                                                           / "tests/data/digits"})
    if (x.path().extension() == ".png")
      files.push_back(x.path());
  std::sort(files.begin(), files.end());
  return files;
}

/// A copy of the model in `dir`, with images to compare by: names and bytes.
inline std::filesystem::path digits_with_agreement(
  const temp_dir& dir, const std::vector<std::pair<std::string, std::string>>& images) {
  auto folder = dir.path() / "digits/1";
  std::filesystem::create_directories(folder / "agreement");
  std::filesystem::copy(digits_model(), folder);
  for (const auto& [name, bytes] : images)
    static_cast<void>(write_file(folder / "agreement" / name, bytes));
  return folder;
}

} // namespace ziyu::test
