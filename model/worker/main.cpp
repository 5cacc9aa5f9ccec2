// ziyu-worker: the only part of Ziyu that holds libtorch and the image codecs.

#include "base/input_file.hpp"
#include "model/codecs.hpp"
#include "model/decoder.hpp"
#include "model/kept_choice.hpp"
#include "model/precision_choice.hpp"
#include "model/worker/fork_server.hpp"
#include "model/worker/live_bytes.hpp"
#include "model/worker/process_title.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>

#include <unistd.h>

namespace {

using namespace ziyu;
using nlohmann::json;

int fail_with(const error& e, int code) {
  std::cerr << "ziyu-worker: " << e.describe() << '\n';
  return code;
}

void print_warnings(const model::model_folder& folder) {
  for (const auto& x : folder.warnings)
    std::cerr << "ziyu-worker: warning: " << folder.path.string() << ": " << x << '\n';
}

json to_json(const model::variant& x, const std::string& chosen) {
  auto result = model::to_json(x);
  result["chosen"] = x.name == chosen;
  if (!x.batch_us.empty())
    result["image_us"] = x.image_us();
  return result;
}

int check_model(const std::string& folder, const model::choice_request& request) {
  const auto start = std::chrono::steady_clock::now();
  auto chosen = model::choose_model(folder, {}, request);
  if (!chosen)
    return fail_with(chosen.error(), 2);
  const auto& m = chosen->by.model().folder();
  auto variants = json::array();
  for (const auto& x : chosen->variants)
    variants.push_back(to_json(x, chosen->name));
  const std::chrono::duration<double, std::milli> load = std::chrono::steady_clock::now() - start;
  std::cout << json{{"name", m.name},
                    {"version", m.version},
                    {"sha256", m.sha256},
                    {"precision", m.precision},
                    {"variant", chosen->name},
                    {"variants", std::move(variants)},
                    {"refused", chosen->refused},
                    {"decode", model::to_json(chosen->decode)},
                    {"classes", chosen->by.model().classes()},
                    {"warnings", m.warnings},
                    {"load_ms", load.count()},
                    {"rss_anon_bytes", worker::memory_counters{}.read().rss_anon}}
                 .dump(-1, ' ', false, json::error_handler_t::replace)
            << '\n';
  return 0;
}

int classify(const std::string& folder, const std::vector<std::string>& images,
             const model::decode_limits& limits, const model::choice_request& request,
             uint64_t max_bytes, uint32_t top_k) {
  // What a model prints would be taken for an answer: it goes to standard error.
  std::FILE* answers = ::fdopen(::dup(STDOUT_FILENO), "w");
  if (answers == nullptr || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    return fail_with({errc::io, std::string{"standard output: "} + std::strerror(errno)}, 1);
  auto chosen = model::choose_model(folder, limits, request);
  if (!chosen)
    return fail_with(chosen.error(), 2);
  auto* by = &chosen->by;
  print_warnings(by->model().folder());
  for (const auto& x : chosen->refused)
    std::cerr << "ziyu-worker: warning: " << folder << ": " << x << '\n';
  auto code = 0;
  for (const auto& path : images) {
    auto bytes = read_input_file(path, max_bytes);
    auto outcome = bytes ? by->classify(*bytes, top_k)
                         : expected<model::classification>{tl::unexpected(bytes.error())};
    json line{{"file", path}};
    if (outcome) {
      if (!outcome->top_k.empty()) {
        const auto& best = outcome->top_k.front();
        line["label"] = best.label;
        line["index"] = best.index;
        line["confidence"] = best.probability;
      }
      auto& list = line["top_k"] = json::array();
      for (const auto& x : outcome->top_k)
        list.push_back({{"label", x.label}, {"index", x.index}, {"confidence", x.probability}});
      line["decode_us"] = outcome->decode_us;
      line["preprocess_us"] = outcome->preprocess_us;
      line["inference_us"] = outcome->inference_us;
    } else {
      line["error"] = {{"code", to_string(outcome.error().code)},
                       {"message", outcome.error().message}};
      code = 1;
    }
    const auto text = line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
    std::fwrite(text.data(), 1, text.size(), answers);
    std::fflush(answers);
  }
  std::fclose(answers);
  return code;
}

} // namespace

int main(int argc, char** argv) {
  model::use_one_thread();
  CLI::App app{"Decodes and classifies images; started by `ziyu serve`.\n"
               "Exit codes: 0 ok, 1 an image failed, 2 no usable model or wrong usage."};
  worker::worker_settings settings;
  model::decode_limits limits;
  auto as_server = false, show_version = false;
  std::string model, check;
  auto control_fd = 3;
  uint32_t top_k = 5;
  uint64_t max_bytes = uint64_t{64} << 20;
  std::vector<std::string> images;
  app.add_flag("--fork-server", as_server, "Fork workers on request (internal)");
  app.add_option("--model", model, "Model folder <name>/<version>");
  app.add_option("--control-fd", control_fd, "Socket to the control process (internal)");
  app.add_option("--max-pixels", limits.max_pixels, "Largest image, width x height");
  app.add_option("--max-bytes", max_bytes, "Largest file that --classify reads");
  app.add_option("--max-peak-bytes", limits.max_peak_bytes,
                 "Memory that decoding an image may take (internal)");
  app.add_option("--budget-bytes", settings.budget_bytes, "Private memory of a worker (internal)");
  app.add_option("--hard-limit-bytes", settings.hard_limit_bytes,
                 "Private memory that no worker may reach (internal)");
  std::string precision{to_string(model::precision_wish::fp32)};
  app.add_option("--precision", precision, "fp32 (default), bf16, int8, or auto")
    ->check(CLI::IsMember({"fp32", "bf16", "int8", "auto"}));
  std::string decode{to_string(model::decode_wish::exact)};
  app.add_option("--decode", decode, "JPEGs: exact (default), reduced, or auto")
    ->check(CLI::IsMember({"exact", "reduced", "auto"}));
  app.add_option("--compiled-path", settings.model.compiled,
                 "Packages of tools/optimize_model.py (default: compiled/ in the model folder)");
  app.add_option("--max-batch", settings.model.most_rows, "Images that run together (internal)")
    ->check(CLI::Range(1u, wire::max_batch));
  app.add_flag("--faults-allowed", settings.faults_allowed, "Obey fault injection");
  app.add_flag("--anew", settings.model.anew, "Measure what auto has measured before, too");
  app.add_option("--check-model", check, "Load a model folder and describe it as JSON");
  app.add_option("--classify", images, "Classify these files with --model; a JSON line each");
  app.add_option("--top-k", top_k, "Number of best labels that --classify prints (default 5)");
  app.add_flag("--version", show_version, "Versions of the libraries as JSON");
  CLI11_PARSE(app, argc, argv);
  from_string(precision, settings.model.wish); // they are members
  from_string(decode, settings.model.decode);
  if (show_version) {
    json versions{{"libtorch", model::torch_version()}, {"jemalloc", worker::jemalloc_version()}};
    for (const auto& [name, version] : model::codec_versions())
      versions[name] = version;
    std::cout << versions.dump() << '\n';
    return 0;
  }
  if (!check.empty())
    return check_model(check, settings.model);
  if (model.empty()) {
    std::cerr << "ziyu-worker: --model is needed; see --help\n";
    return 2;
  }
  worker::own_command_line(argc, argv);
  if (as_server)
    return worker::run_fork_server(model, limits, control_fd, settings);
  return classify(model, images, limits, settings.model, max_bytes, top_k);
}
