#include "model/agreement.hpp"

#include "base/input_file.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <system_error>

namespace ziyu::model {
namespace {

constexpr size_t most_images = 256;
constexpr uint64_t most_bytes = uint64_t{64} << 20; // of an image
constexpr auto least_share = 0.99;
constexpr std::chrono::seconds patience{30};

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

} // namespace

agreement_images::agreement_images(const std::filesystem::path& model_folder)
  : folder_(model_folder / "agreement") {
  std::error_code problem;
  for (std::filesystem::directory_iterator i{folder_, problem}, end; !problem && i != end;
       i.increment(problem))
    if (i->is_regular_file(problem))
      files_.push_back(i->path());
  std::sort(files_.begin(), files_.end());
  files_.resize(std::min(files_.size(), most_images));
}

agreement agreement_images::compare(const labeller& wanted, const labeller& got) const {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  agreement result;
  for (const auto& file : files_) {
    if (result.compared >= least && std::chrono::steady_clock::now() >= deadline)
      break;
    const auto bytes = read_input_file(file.string(), most_bytes);
    const auto label = bytes ? wanted(file, *bytes) : std::nullopt;
    if (!label)
      continue;
    ++result.compared;
    result.alike += got(file, *bytes) == label;
  }
  return result;
}

std::string agreement_images::why_not(const std::string& x, const agreement& by,
                                      const std::string& kind) const {
  if (by.compared < least)
    return too_few(by.compared, kind);
  if (by.share() >= least_share)
    return {};
  return x + " gives " + percent(by.share()) + " of " + std::to_string(by.compared)
         + " images the same label, " + percent(least_share) + " are needed";
}

std::string agreement_images::too_few(size_t count, const std::string& kind) const {
  return "there are " + std::to_string(count) + " " + kind + " in " + folder_.string()
         + ", at least " + std::to_string(least) + " are needed: put some of your own there";
}

} // namespace ziyu::model
