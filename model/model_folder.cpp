#include "model/model_folder.hpp"

#include "base/ascii.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "model/label_text.hpp"
#include "model/weights_format.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <set>
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

/// Takes values out of one JSON object; its errors name the wrong value.
class object_reader {
public:
  object_reader(const json& value, std::string path, std::vector<std::string> keys)
    : value_(value), path_(std::move(path)) {
    if (!value_.is_object())
      throw bad_value{(path_.empty() ? std::string{"the whole"} : path_) + " must be an object"};
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

  /// A text that may be empty, in lower case.
  std::string lower_text(const char* key) const {
    const auto& value = required(key);
    if (!value.is_string())
      throw bad_value{where(key) + " must be a text"};
    return ascii_lower(value.get_ref<const std::string&>());
  }

  /// `count` whole numbers from `min` to `max`; empty without the key.
  std::vector<uint32_t> numbers_or_none(const char* key, size_t count, uint32_t min,
                                        uint32_t max) const {
    std::vector<uint32_t> result;
    if (!value_.contains(key))
      return result;
    const auto& value = value_.at(key);
    if (value.is_array())
      for (const auto& x : value)
        if (x.is_number_integer() && x >= min && x <= max)
          result.push_back(x.get<uint32_t>());
    if (!value.is_array() || result.size() != value.size() || result.size() != count)
      throw bad_value{where(key) + " must be a list of " + std::to_string(count)
                      + " whole numbers from " + std::to_string(min) + " to "
                      + std::to_string(max)};
    return result;
  }

  bool has(const char* key) const { return value_.contains(key); }

  bool has_list(const char* key) const { return has(key) && value_.at(key).is_array(); }

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

/// Reads `resize` and the keys that depend on it.
void read_resizing(const object_reader& in, preprocessing& result) {
  result.squash = in.flag_or("squash", false);
  if (in.has_list("resize")) {
    const auto box = in.numbers_or_none("resize", 2, 1, 16384);
    result.resize_height = box[0];
    result.resize_width = box[1];
    using fitting = preprocessing::fitting;
    constexpr fitting ways[] = {fitting::squash, fitting::cover, fitting::contain};
    result.fit = ways[in.one_of("fit", {"squash", "cover", "contain"})];
  } else {
    result.resize = in.number_or("resize", 0, 0, 16384);
    if (in.has("fit"))
      throw bad_value{"input.fit requires input.resize as a list [height, width]"};
  }
  if (result.squash && (result.resize != 0 || result.resize_height != 0))
    throw bad_value{"input.resize and input.squash exclude each other"};
}

/// The document of model.json. Throws `bad_value`, also for what a parser overlooks: text behind a
/// zero byte, and keys that are written twice, of which one would win.
json parse_description(const std::string& text) {
  if (const auto zero = text.find('\0'); zero != std::string::npos)
    throw bad_value{"is not JSON in UTF-8: byte " + std::to_string(zero + 1) + " is a zero byte"};
  std::vector<std::set<std::string>> open;
  const auto watch = [&open](int, json::parse_event_t event, json& x) {
    if (event == json::parse_event_t::object_start)
      open.emplace_back();
    else if (event == json::parse_event_t::object_end)
      open.pop_back();
    else if (event == json::parse_event_t::key && !open.back().insert(x.get<std::string>()).second)
      throw bad_value{"the key \"" + to_utf8(x.get<std::string>()) + "\" is written twice"};
    return true;
  };
  try {
    return json::parse(text, watch, true, /*ignore_comments*/ true);
  } catch (const json::exception& e) {
    // "[json.exception.parse_error.101] parse error at line 3, column 5: …"
    const auto what = to_utf8(e.what());
    const auto name_ends = what.find("] ");
    throw bad_value{"is not JSON: "
                    + (name_ends == std::string::npos ? what : what.substr(name_ends + 2))};
  }
}

preprocessing read_preprocessing(const json& value) {
  const object_reader in{value,
                         "input",
                         {"channels", "height", "width", "resize", "fit", "squash", "fill",
                          "crop_rounding", "interpolation", "mean", "std", "invert"}};
  preprocessing result;
  result.channels = in.one_of("channels", {"rgb", "grey"}) == 0 ? preprocessing::colour::rgb
                                                                : preprocessing::colour::grey;
  const size_t channels = result.channels == preprocessing::colour::rgb ? 3 : 1;
  result.crop_height = in.number("height", 1, 8192);
  result.crop_width = in.number("width", 1, 8192);
  read_resizing(in, result);
  const auto fill = in.numbers_or_none("fill", channels, 0, 255);
  std::transform(fill.begin(), fill.end(), result.fill.begin(),
                 [](uint32_t x) { return static_cast<uint8_t>(x); });
  result.crops_down = in.has("crop_rounding")
                      && in.one_of("crop_rounding", {"half_even", "down"}) == 1;
  result.filter = in.one_of("interpolation", {"bilinear", "bicubic"}) == 0
                    ? preprocessing::interpolation::bilinear
                    : preprocessing::interpolation::bicubic;
  result.mean = in.floats("mean", channels, -1e30f);
  result.stddev = in.floats("std", channels, 0);
  result.invert = in.flag_or("invert", false);
  return result;
}

/// `activation` and `threshold`.
void read_output(const json& root, const object_reader& in, model_folder& result) {
  if (in.has("activation")) {
    constexpr activation all[] = {activation::softmax, activation::sigmoid, activation::none};
    result.output = all[in.one_of("activation", {"softmax", "sigmoid", "none"})];
  }
  if (!in.has("threshold"))
    return;
  if (result.output == activation::softmax)
    throw bad_value{"threshold requires \"activation\": \"sigmoid\" or \"none\"; softmax always "
                    "answers the best label of an image"};
  const auto& value = root.at("threshold");
  const auto number = value.is_number() ? value.get<float>() : NAN;
  if (!std::isfinite(number)
      || (result.output == activation::sigmoid && (number < 0 || number > 1)))
    throw bad_value{result.output == activation::sigmoid ? "threshold must be a number from 0 to 1"
                                                         : "threshold must be a number"};
  result.threshold = number;
}

expected<std::vector<std::string>> read_labels(const std::filesystem::path& file) {
  const auto content = read_file(file, uint64_t{16} << 20);
  if (!content)
    return fail(errc::model_missing, content.error().message);
  return parse_labels(*content, file);
}

/// Checks the weights against model.json. The format comes first, since another file under the old
/// name also has another SHA-256.
expected<void> check_weights(const std::filesystem::path& weights, const std::string& sha256,
                             const std::string& description) {
  std::error_code ignored;
  const auto file = weights.string();
  if (!std::filesystem::is_regular_file(weights, ignored))
    return fail(errc::model_missing, "no weights " + file + ", which " + description + " names");
  if (const auto other = foreign_weights(weights))
    return fail(errc::model_mismatch, file + " " + *other);
  const auto actual = sha256_file(file);
  if (!actual)
    return fail(errc::model_corrupt, actual.error().message);
  const auto digits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (sha256.size() != 64 || !std::all_of(sha256.begin(), sha256.end(), digits))
    return fail(errc::model_corrupt,
                description + ": sha256 is "
                  + (sha256.empty() ? std::string{"empty"} : "\"" + sha256 + "\"")
                  + " but must be the 64 hexadecimal digits that sha256sum prints, which for "
                  + file + " are " + *actual);
  if (*actual != sha256)
    return fail(errc::model_corrupt, file + " has the SHA-256 " + *actual + ", but " + description
                                       + " says " + sha256 + "; copy the model folder again");
  return {};
}

/// A file name without a folder: the files that model.json names are beside it.
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
    const auto root = parse_description(*content);
    const object_reader in{root,
                           "",
                           {"schema", "name", "version", "weights", "sha256", "precision", "labels",
                            "classes", "input", "activation", "threshold", "held_out_accuracy",
                            "notes", "license"}};
    if (in.text("schema") != "ziyu.model/1")
      return bad("schema is \"" + in.text("schema") + "\", this version reads \"ziyu.model/1\"");
    result.path = path;
    result.name = in.text("name");
    result.version = in.text("version");
    result.weights = beside(path, in.text("weights"), "weights");
    result.sha256 = in.lower_text("sha256");
    in.one_of("precision", {"fp32"});
    result.precision = in.text("precision");
    labels = beside(path, in.text("labels"), "labels");
    result.input = read_preprocessing(in.required("input"));
    read_output(root, in, result);
    // A single class is useful only if each class has a number of its own.
    const uint32_t fewest = result.output == activation::softmax ? 2 : 1;
    classes = in.number("classes", fewest, 10'000'000);
    if (in.has("license"))
      in.text("license");
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
  result.warnings = label_warnings(result.labels);
  if (const auto sound = check_weights(result.weights, result.sha256, description.string()); !sound)
    return tl::unexpected<error>(sound.error());
  return result;
}

} // namespace ziyu::model
