#include "model/kept_choice.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "model/compiled/host.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <system_error>

namespace ziyu::model {
namespace {

using nlohmann::json;

constexpr auto schema = "ziyu.choice/1";
constexpr uint64_t most_bytes = 1u << 20;

/// Names, sizes and times of the files in a folder and below: copies of the same images made later
/// are measured anew, which is safe.
void add_files(const std::filesystem::path& folder, std::vector<std::string>& to) {
  std::error_code problem;
  std::vector<std::string> lines;
  for (std::filesystem::recursive_directory_iterator i{folder, problem}, end; !problem && i != end;
       i.increment(problem))
    if (std::error_code failed; i->is_regular_file(failed))
      lines.push_back(i->path().string() + " " + std::to_string(i->file_size(failed)) + " "
                      + std::to_string(i->last_write_time(failed).time_since_epoch().count()));
  std::sort(lines.begin(), lines.end());
  to.insert(to.end(), lines.begin(), lines.end());
}

std::optional<precision> precision_named(std::string_view name) {
  for (const auto x : {precision::fp32, precision::bf16, precision::int8})
    if (name == to_string(x))
      return x;
  return {};
}

variant variant_from(const json& x) {
  variant result{x.at("name"), x.at("batch_us"), {}, x.value("why_not", "")};
  if (x.contains("agreement"))
    result.agreement = x.at("agreement").get<double>();
  return result;
}

decode_choice decode_from(const json& x) {
  decode_choice result;
  result.how = x.at("how") == to_string(decoding::reduced) ? decoding::reduced : decoding::exact;
  result.why_not = x.value("why_not", "");
  if (!x.contains("images"))
    return result;
  const auto images = x.at("images").get<size_t>();
  result.agreed = agreement{images,
                            static_cast<size_t>(std::lround(x.at("agreement").get<double>()
                                                            * static_cast<double>(images)))};
  result.exact_us = x.at("exact_us");
  result.reduced_us = x.at("reduced_us");
  return result;
}

} // namespace

json to_json(const variant& x) {
  json result{{"name", x.name}, {"batch_us", x.batch_us}};
  if (x.agreement)
    result["agreement"] = *x.agreement;
  if (!x.why_not.empty())
    result["why_not"] = x.why_not;
  return result;
}

json to_json(const decode_choice& x) {
  json result{{"how", to_string(x.how)}};
  if (x.agreed && x.agreed->compared > 0)
    result.update({{"images", x.agreed->compared},
                   {"agreement", x.agreed->share()},
                   {"exact_us", x.exact_us},
                   {"reduced_us", x.reduced_us}});
  if (!x.why_not.empty())
    result["why_not"] = x.why_not;
  return result;
}

kept_choice::kept_choice(const model_folder& folder, const choice_request& request) {
  const auto root = request.compiled.empty() ? folder.path / "compiled" : request.compiled;
  std::error_code problem;
  if (!std::filesystem::is_directory(root, problem))
    return;
  const auto here = compiled::this_host();
  const auto of_weights = root / folder.sha256.substr(0, 16);
  const auto wishes = std::string{to_string(request.wish)} + "-"
                      + std::string{to_string(request.decode)};
  std::vector<std::string> what{here.describe(), folder.sha256, wishes,
                                std::to_string(request.most_rows)};
  add_files(folder.path / "agreement", what);
  add_files(of_weights / here.folder(), what);
  std::string text;
  for (const auto& x : what)
    text += x + "\n";
  key_ = sha256_hex(text);
  file_ = root / (folder.sha256.substr(0, 16) + "." + here.folder() + "." + wishes + ".json");
}

std::optional<choice_record> kept_choice::read() const {
  if (file_.empty())
    return {};
  const auto text = read_file(file_, most_bytes);
  const auto x = text ? json::parse(*text, nullptr, false) : json{};
  try {
    if (!x.is_object() || x.at("schema") != schema || x.at("key") != key_)
      return {};
    const auto how = precision_named(x.at("precision").get<std::string>());
    if (!how)
      return {};
    choice_record result{*how, x.at("name"), {}, x.at("refused"), decode_from(x.at("decode"))};
    for (const auto& each : x.at("variants"))
      result.variants.push_back(variant_from(each));
    return result;
  } catch (const json::exception&) {
    return {}; // of another release
  }
}

void kept_choice::write(const choice_record& x) const {
  if (file_.empty())
    return;
  auto variants = json::array();
  for (const auto& each : x.variants)
    variants.push_back(to_json(each));
  static_cast<void>(write_file(file_, json{{"schema", schema},
                                           {"key", key_},
                                           {"precision", to_string(x.how)},
                                           {"name", x.name},
                                           {"variants", std::move(variants)},
                                           {"refused", x.refused},
                                           {"decode", to_json(x.decode)}}
                                          .dump(2, ' ', false, json::error_handler_t::replace)
                                        + "\n"));
}

} // namespace ziyu::model
