#include "cli/demo/stage.hpp"

#include "base/file.hpp"
#include "cli/common/interrupt.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <sstream>

#include <fcntl.h>

namespace ziyu::cli {

namespace fs = std::filesystem;
using nlohmann::json;
using clock = std::chrono::steady_clock;

namespace {

constexpr auto start_limit = std::chrono::seconds{90};
constexpr auto kafka_limit = std::chrono::milliseconds{15'000};

/// `relative` below the folder of the executable or one above it, or below the
/// installation's shared files.
std::optional<fs::path> find_up(const fs::path& relative) {
  for (auto at = executable_dir(); at != at.parent_path(); at = at.parent_path())
    if (fs::exists(at / relative))
      return at / relative;
  if (auto installed = fs::path{"/usr/share/ziyu"} / relative; fs::exists(installed))
    return installed;
  return std::nullopt;
}

json make_configuration(const std::string& bootstrap, const fs::path& model,
                        const stage_settings& s, const std::vector<std::string>& topics) {
  json c{
    {"kafka", {{"bootstrap.servers", bootstrap}, {"group.id", "ziyu-" + s.name}}},
    {"topics",
     {{"jobs", topics[0]},
      {"results", topics[1]},
      {"dead_letters", topics[2]},
      {"events", topics[3]}}},
    {"model", {{"path", model.string()}, {"top_k", 3}}},
    {"workers", {{"slots", 2}, {"standbys", 1}}},
    {"memory",
     {{"worker_budget_bytes", s.budget_bytes}, {"worker_hard_limit_bytes", s.hard_limit_bytes}}},
    {"healing", {{"enabled", s.healing}}},
    {"http", {{"host", "127.0.0.1"}, {"port", 0}}},
    {"log", {{"level", "info"}, {"format", "text"}}},
  };
  if (!s.leak.empty())
    c["faults"] = {{"allowed", true}, {"slots", {{"0", s.leak}}}};
  return c;
}

} // namespace

expected<demo_images> demo_images::load(const fs::path& folder) {
  demo_images result;
  const auto at = folder.empty() ? find_up("tests/data/digits") : std::optional{folder};
  const auto model = find_up("models/digits/1");
  if (!at || !model)
    return fail(
      errc::io,
      "the demo's images (tests/data/digits) or its model (models/digits/1) are not beside"
      " this program: run it from a clone of the repository");
  result.model = *model;
  auto text = read_file(*at / "labels.json");
  auto names = read_file(*model / "labels.txt");
  if (!text || !names)
    return tl::unexpected(!text ? text.error() : names.error());
  std::vector<std::string> labels;
  std::istringstream lines{*names};
  for (std::string line; std::getline(lines, line);)
    labels.push_back(line);
  const auto truth = json::parse(*text, nullptr, false);
  if (!truth.is_object())
    return fail(errc::io,
                (*at / "labels.json").string() + " is not a JSON object of file names and classes");
  for (const auto& [name, index] : truth.items()) {
    if (!index.is_number_unsigned() || index.get<size_t>() >= labels.size())
      return fail(errc::io,
                  (*at / "labels.json").string() + ": " + name + " has no class of the model");
    auto bytes = read_file(*at / name);
    if (!bytes)
      return tl::unexpected(bytes.error());
    result.all.push_back({std::move(*bytes), labels[index.get<size_t>()]});
  }
  if (result.all.empty())
    return fail(errc::io, "there are no images in " + at->string());
  return result;
}

expected<demo_stage> demo_stage::start(const std::string& bootstrap, const fs::path& folder,
                                       const demo_images& images, const stage_settings& s) {
  demo_stage x;
  x.bootstrap_ = bootstrap;
  const auto suffix = s.name == "demo" ? "" : "." + s.name;
  const std::vector<std::string> topics{"image.jobs" + suffix, "image.results" + suffix,
                                        "image.jobs-dlt" + suffix, "ziyu.events" + suffix};
  x.jobs_ = topics[0];
  std::vector<messaging::topic_specification> wanted;
  wanted.reserve(topics.size());
  for (const auto& name : topics)
    wanted.push_back({name, name == topics[0] ? 4 : 1, 1, {}});
  if (auto made = messaging::create_topics(x.client(), wanted, kafka_limit); !made)
    return tl::unexpected(made.error());
  for (const auto& [reader, topic] :
       {std::pair{&x.results_, topics[1]}, std::pair{&x.dead_letters_, topics[2]},
        std::pair{&x.events_, topics[3]}}) {
    auto made = messaging::read_topic(x.client(), topic, messaging::topic_reader::start::beginning,
                                      kafka_limit);
    if (!made)
      return tl::unexpected(made.error());
    *reader = std::move(*made);
  }
  const auto configuration = folder / (s.name + ".json");
  x.log_ = folder / (s.name + ".log");
  const auto news = folder / (s.name + ".out");
  if (auto ok = write_file(configuration,
                           make_configuration(bootstrap, images.model, s, topics).dump(2) + "\n");
      !ok)
    return tl::unexpected(ok.error());
  unique_fd out{::open(news.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  auto service = broker::guarded_process::start(
    {(executable_dir() / "ziyu").string(), "serve", "--config", configuration.string()}, x.log_,
    out.get());
  if (!service)
    return tl::unexpected(service.error());
  x.service_ = std::move(*service);
  const auto deadline = clock::now() + start_limit;
  while (x.http_.empty()) {
    if (interrupted())
      return fail(errc::stopping, "interrupted");
    if (!x.running())
      return fail(errc::unavailable, "the service ended at its start:\n" + x.log_tail());
    if (clock::now() > deadline)
      return fail(errc::timeout, "the service does not serve:\n" + x.log_tail());
    if (auto text = read_file(news); text && text->ends_with("\n"))
      x.http_ = json::parse(*text, nullptr, false).value("http", std::string{});
    else
      x.service_.wait(std::chrono::milliseconds{20});
  }
  return x;
}

std::string demo_stage::log_tail() const {
  auto text = read_file(log_);
  if (!text)
    return text.error().message;
  constexpr size_t limit = 2000;
  return text->size() <= limit ? *text : "…" + text->substr(text->size() - limit);
}

} // namespace ziyu::cli
