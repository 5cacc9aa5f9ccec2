#include "actors/configured_settings.hpp"
#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/capture.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/job_files.hpp"
#include "cli/common/json.hpp"
#include "cli/common/options.hpp"
#include "cli/view/drawing.hpp"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <span>
#include <sstream>

#include <unistd.h>

namespace ziyu::cli {

namespace {

/// Files for one run of the worker program, which loads the model each time.
constexpr size_t batch_files = 256;
constexpr std::chrono::seconds load_limit{120};

struct classify_options {
  configuration_options configuration;
  std::vector<std::string> inputs;
  std::string model;
  double timeout_s = 60; ///< For each image.
  bool json = false;
};

struct model_choice {
  std::string folder;
  supervision::model_options how;
  uint64_t max_pixels = 0, max_bytes = 0;
};

/// The named model folder, else the configuration's; empty after errors, which are
/// printed.
std::optional<model_choice> choose_model(const classify_options& options) {
  const auto has_file = !options.configuration.file.empty();
  if (options.model.empty() && !has_file) {
    print_error({errc::invalid_usage,
                 "which model? Give --model MODEL_FOLDER, or --config FILE (or ZIYU_CONFIG)"});
    return {};
  }
  // A broker is required, but not used here.
  const auto loaded = options.configuration.load(has_file ? "" : "kafka.bootstrap.servers=none:1");
  if (!loaded)
    return {};
  const auto& x = loaded->values;
  return model_choice{options.model.empty() ? x.model.path.string() : options.model,
                      actors::to_model_options(x), x.jobs.max_pixels, x.jobs.max_bytes};
}

std::string head(bool colours) {
  return paint(fit("FILE", 34) + " " + fit("LABEL", 20) + " " + fit("CONFIDENCE", 10, true) + " "
                 + fit("MS", 8, true),
               colour::bold, colours);
}

std::string row(const nlohmann::json& x, bool colours) {
  const auto file = fit(text_in(x, "file"), 34);
  const auto& failure = field(x, "error");
  if (failure.is_object())
    return file + " " + paint(fit(text_in(failure, "code"), 20), colour::red, colours) + " "
           + printable(text_in(failure, "message"));
  const auto us = real_in(x, "decode_us") + real_in(x, "preprocess_us")
                  + real_in(x, "inference_us");
  return file + " " + paint(fit(text_in(x, "label"), 20), colour::cyan, colours) + " "
         + fit(format("%.1f %%", real_in(x, "confidence") * 100), 10, true) + " "
         + fit(format("%.1f", us / 1000), 8, true);
}

/// Runs the worker program over some files and shows its lines. Returns its exit code, or 1 after a
/// failure that the program could not report.
int classify_batch(const classify_options& options, const model_choice& model,
                   std::span<const job_file> files, bool colours) {
  std::vector<std::string> command{(executable_dir() / "ziyu-worker").string(),
                                   "--model",
                                   model.folder,
                                   "--max-pixels",
                                   std::to_string(model.max_pixels),
                                   "--max-bytes",
                                   std::to_string(model.max_bytes),
                                   "--classify"};
  const auto how = model.how.arguments();
  command.insert(command.begin() + 1, how.begin(), how.end());
  for (const auto& x : files)
    command.push_back(x.path.string().starts_with('-') ? "./" + x.path.string() : x.path.string());
  const auto limit = load_limit
                     + to_milliseconds(options.timeout_s) * static_cast<int64_t>(files.size());
  const auto said = capture(std::move(command), limit);
  if (!said) {
    print_error(said.error());
    return exit_failed;
  }
  std::istringstream lines{said->output};
  size_t answered = 0;
  for (std::string line; std::getline(lines, line); ++answered) {
    const auto document = nlohmann::json::parse(line, nullptr, false);
    print_line(options.json || document.is_discarded() ? line : row(document, colours));
  }
  if (said->how.signal != 0 || (said->how.exit_code != 2 && answered < files.size())) {
    print_error({errc::worker_died, "ziyu-worker ended with " + said->how.describe() + " at "
                                      + files[std::min(answered, files.size() - 1)].path.string()});
    return exit_failed;
  }
  return said->how.exit_code;
}

int classify(const classify_options& options) {
  const auto model = choose_model(options);
  if (!model)
    return exit_wrong_usage;
  const auto files = find_job_files(options.inputs, std::cin);
  if (!files) {
    print_error(files.error());
    return exit_wrong_usage;
  }
  const auto colours = wants_colour(STDOUT_FILENO);
  if (!options.json)
    print_line(head(colours));
  int code = exit_ok;
  for (size_t at = 0; at < files->size(); at += batch_files) {
    const auto batch = std::span{*files}.subspan(at, std::min(batch_files, files->size() - at));
    const auto ended = classify_batch(options, *model, batch, colours);
    if (ended == exit_wrong_usage)
      return exit_wrong_usage; // No usable model: the worker program has printed why.
    code = std::max(code, ended);
    if (output_closed())
      break; // `ziyu classify … | head -1` has seen enough.
  }
  return code;
}

} // namespace

void add_classify_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand(
    "classify", "Classify image files with a model folder: without Kafka, without a service");
  auto options = std::make_shared<classify_options>();
  add_inputs(*command, options->inputs);
  command->add_option("-m,--model", options->model, "Model folder <name>/<version>")
    ->type_name("MODEL_FOLDER");
  options->configuration.add_file(*command, "Configuration file whose model to use");
  options->configuration.add_overrides(*command);
  add_seconds(*command, "--timeout", options->timeout_s, "Longest wait for each image");
  command->add_flag("--json", options->json, "Print one line of JSON for each file");
  command->footer("Exit codes: 0 all classified, 1 some failed (their lines say why), 2 wrong\n"
                  "usage or no usable model, 130 interrupted.\n"
                  "Example: ziyu classify --model models/digits/1 tests/data/digits");
  command->callback([options, &exit_code] { exit_code = classify(*options); });
}

} // namespace ziyu::cli
