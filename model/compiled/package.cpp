#include "model/compiled/package.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <stdexcept>

namespace ziyu::model::compiled {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr auto again = "; run tools/optimize_model.py on this machine";

std::string bytes_of_hex(const std::string& hex) {
  std::string result(hex.size() / 2, '\0');
  for (size_t i = 0; i < result.size(); ++i) {
    uint8_t value = 0;
    const auto* from = hex.data() + 2 * i;
    if (std::from_chars(from, from + 2, value, 16).ptr != from + 2)
      throw std::invalid_argument{"metadata is not hexadecimal"};
    result[i] = static_cast<char>(value);
  }
  return result;
}

host host_in(const json& x) {
  return {x.at("vendor"), x.at("family"), x.at("model"), x.at("isa"), x.at("torch")};
}

constant constant_in(const json& x) {
  constant result{x.at("name"),
                  x.at("dtype"),
                  x.at("at"),
                  x.at("bytes"),
                  x.at("shape"),
                  x.at("stride"),
                  x.at("offset"),
                  x.at("layout") == "mkldnn",
                  bytes_of_hex(x.at("metadata"))};
  if (result.shape.size() != result.stride.size())
    throw std::invalid_argument{result.name + " has a stride of another length than its shape"};
  return result;
}

/// Of a file beside package.json.
fs::path file_in(const fs::path& folder, const std::string& name) {
  if (fs::path{name}.filename() != fs::path{name})
    throw std::invalid_argument{name + " is not the name of a file"};
  return folder / name;
}

package package_in(const json& x, const fs::path& folder) {
  package result{folder, x.at("precision"), file_in(folder, x.at("constants")), {}};
  for (const auto& batch : x.at("batches")) {
    auto& each = result.batches.emplace_back();
    each.rows = batch.at("rows");
    each.library = file_in(folder, batch.at("library"));
    if (each.rows != 1u << (result.batches.size() - 1))
      throw std::invalid_argument{"batches must be of 1, 2, 4 ... images"};
    for (const auto& value : batch.at("constants"))
      each.constants.push_back(constant_in(value));
  }
  if (result.batches.empty())
    throw std::invalid_argument{"it has no code"};
  return result;
}

/// The kinds of machines that have a package of this precision.
std::string made_for(const fs::path& weights, std::string_view precision) {
  std::vector<std::string> names;
  std::error_code problem;
  for (fs::directory_iterator i{weights, problem}, end; !problem && i != end; i.increment(problem))
    if (fs::exists(i->path() / precision / "package.json", problem))
      names.push_back(i->path().filename().string());
  std::sort(names.begin(), names.end());
  std::string result;
  for (const auto& name : names)
    result += (result.empty() ? "" : ", ") + name;
  return result;
}

} // namespace

expected<std::optional<package>> find_package(const fs::path& root, std::string_view sha256,
                                              const host& here, std::string_view precision) {
  const auto weights = root / sha256.substr(0, 16);
  const auto folder = weights / here.folder() / precision;
  std::error_code ignored;
  if (!fs::exists(folder / "package.json", ignored)) {
    const auto others = made_for(weights, precision);
    if (others.empty())
      return std::optional<package>{};
    return fail(errc::model_mismatch, weights.string() + " has packages in "
                                        + std::string{precision} + " for " + others
                                        + " only, not for " + here.folder() + again);
  }
  const auto text = read_file(folder / "package.json", uint64_t{64} << 20);
  if (!text)
    return tl::unexpected<error>(text.error());
  try {
    const auto description = json::parse(*text);
    if (description.at("schema") != "ziyu.compiled/1")
      return fail(errc::model_corrupt, folder.string() + " has another schema" + again);
    if (description.at("sha256") != sha256)
      return fail(errc::model_mismatch, folder.string() + " is of other weights" + again);
    if (const auto made = host_in(description.at("host")); made != here)
      return fail(errc::model_mismatch, folder.string() + " is for " + made.describe()
                                          + ", this is " + here.describe() + again);
    if (description.at("precision") != precision)
      return fail(errc::model_mismatch, folder.string() + " is of another precision" + again);
    return std::optional{package_in(description, folder)};
  } catch (const std::exception& e) {
    return fail(errc::model_corrupt,
                (folder / "package.json").string() + ": " + to_utf8(e.what()) + again);
  }
}

} // namespace ziyu::model::compiled
