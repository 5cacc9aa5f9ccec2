#include "model/precision_choice.hpp"

#include "base/input_file.hpp"

#include <algorithm>
#include <cstdio>

namespace ziyu::model {
namespace {

constexpr size_t least_images = 32, most_images = 256;
constexpr uint64_t most_bytes = uint64_t{64} << 20; // of an image
constexpr auto least_agreement = 0.99, most_time = 0.95;

std::vector<std::filesystem::path> images_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code problem;
  for (std::filesystem::directory_iterator i{folder, problem}, end; !problem && i != end;
       i.increment(problem))
    if (i->is_regular_file(problem))
      files.push_back(i->path());
  std::sort(files.begin(), files.end());
  files.resize(std::min(files.size(), most_images));
  return files;
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", share * 100);
  return text;
}

/// Why `fast` does not stand in for `exact`; empty: it does.
std::string objection(classifier& exact, classifier& fast, const std::filesystem::path& folder) {
  size_t compared = 0, alike = 0;
  for (const auto& file : images_in(folder)) {
    const auto bytes = read_input_file(file.string(), most_bytes);
    if (!bytes)
      continue;
    const auto wanted = exact.classify(*bytes, 1), got = fast.classify(*bytes, 1);
    if (!wanted || wanted->top_k.empty())
      continue; // no image, or none of the labels
    ++compared;
    alike += got && !got->top_k.empty() && got->top_k[0].index == wanted->top_k[0].index;
  }
  if (compared < least_images)
    return "there are " + std::to_string(compared) + " images to compare by in " + folder.string()
           + ", at least " + std::to_string(least_images)
           + " are needed: put some of your own there";
  const auto agreement = static_cast<double>(alike) / static_cast<double>(compared);
  if (agreement < least_agreement)
    return "bf16 gives " + percent(agreement) + " of " + std::to_string(compared)
           + " images the same label, " + percent(least_agreement) + " are needed";
  const auto time = static_cast<double>(fast.model().measure_batches(1).at(0))
                    / static_cast<double>(exact.model().measure_batches(1).at(0));
  if (time > most_time)
    return "bf16 takes " + percent(time) + " of the time of fp32 on this processor";
  return {};
}

} // namespace

expected<classifier> load_in_precision(const std::filesystem::path& path,
                                       const decode_limits& limits, precision_wish wish) {
  if (wish != precision_wish::automatic)
    return classifier::load(path, limits,
                            wish == precision_wish::bf16 ? precision::bf16 : precision::fp32);
  auto exact = classifier::load(path, limits, precision::fp32);
  if (!exact)
    return exact;
  auto fast = classifier::load(path, limits, precision::bf16);
  const auto why = fast ? objection(*exact, *fast, path / "agreement") : fast.error().message;
  if (why.empty())
    return fast;
  exact->model().warn("model.precision auto has chosen fp32: " + why);
  return exact;
}

} // namespace ziyu::model
