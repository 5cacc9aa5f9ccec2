#include "model/model_folder.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>

namespace ziyu::model {
namespace {

using nlohmann::json;

/// A failure while reading model.json. An exception, so that the readers below
/// stay one line each; `read_model_folder` catches it.
struct bad_value {
  std::string message;
};

/// Takes values out of one JSON object; says exactly which one is wrong.
class object_reader {
public:
  object_reader(const json& value, std::string path, std::vector<std::string> keys)
    : value_(value), path_(std::move(path)) {
    if (!value_.is_object())
      throw bad_value{where("") + " must be an object"};
    for (const auto& item : value_.items()) {
      if (std::find(keys.begin(), keys.end(), item.key()) != keys.end())
        continue;
      auto message = "unknown key " + where(item.key());
      if (const auto near = closest(item.key(), keys); !near.empty())
        message += ", did you mean \"" + near + "\"?";
      throw bad_value{message};
    }
  }

  const json& required(const char* key) const {
    if (!value_.contains(key))
      throw bad_value{where(key) + " is missing"};
    return value_.at(key);
  }

  std::string text(const char* key) const {
    const auto& value = required(key);
    if (!value.is_string() || value.get_ref<const std::string&>().empty())
      throw bad_value{where(key) + " must be a text"};
    return value.get<std::string>();
  }

  uint32_t number(const char* key, uint32_t min, uint32_t max) const {
    const auto& value = required(key);
    if (!value.is_number_integer() || value < min || value > max)
      throw bad_value{where(key) + " must be a whole number from " + std::to_string(min) + " to "
                      + std::to_string(max)};
    return value.get<uint32_t>();
  }

  uint32_t number_or(const char* key, uint32_t otherwise, uint32_t min, uint32_t max) const {
    return value_.contains(key) ? number(key, min, max) : otherwise;
  }

  bool flag_or(const char* key, bool otherwise) const {
    if (!value_.contains(key))
      return otherwise;
    if (!value_.at(key).is_boolean())
      throw bad_value{where(key) + " must be true or false"};
    return value_.at(key).get<bool>();
  }

  /// The index of the value among `words`.
  size_t one_of(const char* key, std::initializer_list<std::string_view> words) const {
    const auto value = text(key);
    std::string list;
    size_t index = 0;
    for (const auto word : words) {
      if (word == value)
        return index;
      list += (index++ == 0 ? "\"" : ", \"") + std::string{word} + "\"";
    }
    throw bad_value{where(key) + " is \"" + value + "\" but must be one of " + list};
  }

  std::vector<float> floats(const char* key, size_t count, float above) const {
    const auto& value = required(key);
    std::vector<float> result;
    if (value.is_array())
      for (const auto& x : value)
        if (x.is_number() && std::isfinite(x.get<float>()) && x.get<float>() > above)
          result.push_back(x.get<float>());
    if (result.size() != count || !value.is_array() || value.size() != count)
      throw bad_value{where(key) + " must be a list of " + std::to_string(count)
                      + (above >= 0 ? " positive numbers" : " numbers") + ", one per channel"};
    return result;
  }

  std::string where(std::string_view key) const {
    return path_ + (path_.empty() || key.empty() ? "" : ".") + std::string{key};
  }

private:
  const json& value_;
  std::string path_;
};

preprocessing read_preprocessing(const json& value) {
  const object_reader in{
    value,
    "input",
    {"channels", "height", "width", "resize", "squash", "interpolation", "mean", "std", "invert"}};
  preprocessing result;
  result.channels = in.one_of("channels", {"rgb", "grey"}) == 0 ? preprocessing::colour::rgb
                                                                : preprocessing::colour::grey;
  const size_t channels = result.channels == preprocessing::colour::rgb ? 3 : 1;
  result.crop_height = in.number("height", 1, 8192);
  result.crop_width = in.number("width", 1, 8192);
  result.resize = in.number_or("resize", 0, 0, 16384);
  result.squash = in.flag_or("squash", false);
  if (result.squash && result.resize != 0)
    throw bad_value{"input.resize and input.squash exclude each other"};
  result.filter = in.one_of("interpolation", {"bilinear", "bicubic"}) == 0
                    ? preprocessing::interpolation::bilinear
                    : preprocessing::interpolation::bicubic;
  result.mean = in.floats("mean", channels, -1e30f);
  result.stddev = in.floats("std", channels, 0);
  result.invert = in.flag_or("invert", false);
  return result;
}

/// One label a line; a last empty line is the end of the last label's line.
expected<std::vector<std::string>> read_labels(const std::filesystem::path& file) {
  auto content = read_file(file, uint64_t{16} << 20);
  if (!content)
    return fail(errc::model_missing, content.error().message);
  std::string_view rest{*content};
  if (rest.starts_with("\xef\xbb\xbf")) // byte order mark, as some editors write
    rest.remove_prefix(3);
  std::vector<std::string> result;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    const auto place = file.string() + " line " + std::to_string(result.size() + 1);
    if (line.empty())
      return fail(errc::labels_mismatch,
                  place + " is empty; write one label a line, in the order of the classes");
    if (!is_utf8(line))
      return fail(errc::labels_mismatch, place + " is not UTF-8");
    result.emplace_back(line);
  }
  if (result.empty())
    return fail(errc::labels_mismatch, file.string() + " has no labels");
  return result;
}

/// A file name without any folder: what model.json names lies beside it.
std::filesystem::path beside(const std::filesystem::path& folder, const std::string& name,
                             const char* key) {
  const std::filesystem::path file{name};
  if (file.filename() != file || name == "." || name == "..")
    throw bad_value{std::string{key} + " must be the name of a file in the same folder, not \""
                    + name + "\""};
  return folder / file;
}

} // namespace

expected<model_folder> read_model_folder(const std::filesystem::path& path) {
  const auto description = path / "model.json";
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored))
    return fail(errc::model_missing, "no model folder " + path.string()
                                       + "; it must hold model.json, the weights and labels.txt "
                                         "(tools/export_model.py makes one)");
  const auto content = read_file(description, 1 << 20);
  if (!content)
    return fail(errc::model_missing, content.error().message);
  const auto bad = [&](std::string_view reason) {
    return fail(errc::model_corrupt, description.string() + ": " + std::string{reason});
  };
  model_folder result;
  std::filesystem::path labels;
  std::optional<uint32_t> classes;
  try {
    const auto root = json::parse(*content, nullptr, true, /*ignore_comments*/ true);
    const object_reader in{root,
                           "",
                           {"schema", "name", "version", "weights", "sha256", "precision", "labels",
                            "classes", "input", "held_out_accuracy", "notes"}};
    if (in.text("schema") != "ziyu.model/1")
      return bad("schema is \"" + in.text("schema") + "\", this version reads \"ziyu.model/1\"");
    result.path = path;
    result.name = in.text("name");
    result.version = in.text("version");
    result.weights = beside(path, in.text("weights"), "weights");
    result.sha256 = in.text("sha256");
    in.one_of("precision", {"fp32"});
    result.precision = in.text("precision");
    labels = beside(path, in.text("labels"), "labels");
    classes = in.number("classes", 2, 10'000'000);
    result.input = read_preprocessing(in.required("input"));
    if (root.contains("held_out_accuracy")) {
      const auto& accuracy = root["held_out_accuracy"];
      if (!accuracy.is_number() || accuracy < 0 || accuracy > 1)
        return bad("held_out_accuracy must be a number from 0 to 1");
      result.held_out_accuracy = accuracy.get<double>();
    }
  } catch (const json::exception& e) {
    return bad(to_utf8(e.what()));
  } catch (const bad_value& e) {
    return bad(e.message);
  }
  auto names = read_labels(labels);
  if (!names)
    return tl::unexpected<error>(names.error());
  if (names->size() != *classes)
    return fail(errc::labels_mismatch, labels.string() + " has " + std::to_string(names->size())
                                         + " labels, but " + description.string()
                                         + " says classes: " + std::to_string(*classes));
  result.labels = std::move(*names);
  if (!std::filesystem::is_regular_file(result.weights, ignored))
    return fail(errc::model_missing, "no weights " + result.weights.string() + ", which "
                                       + description.string() + " names");
  const auto sha256 = sha256_file(result.weights.string());
  if (!sha256)
    return fail(errc::model_corrupt, sha256.error().message);
  if (*sha256 != result.sha256)
    return fail(errc::model_corrupt, result.weights.string() + " has the SHA-256 " + *sha256
                                       + ", but " + description.string() + " says " + result.sha256
                                       + "; copy the model folder again");
  return result;
}

} // namespace ziyu::model
