#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/capture.hpp"
#include "cli/common/checked_model.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/json.hpp"
#include "cli/common/options.hpp"
#include "cli/view/drawing.hpp"
#include "cli/view/terminal.hpp"

#include <iostream>
#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

struct bench_options {
  std::string folder, compiled_path;
  uint32_t max_batch = 16;
  double timeout_s = 600;
  bool json = false;
};

/// Milliseconds of the processor for an image, one alone and in the largest batch that was run.
std::string times_of(const nlohmann::json& variant) {
  const auto& times = field(variant, "batch_us");
  std::string result;
  if (times.is_array())
    for (size_t i = 0; i < times.size(); ++i)
      result += fit(format("%.2f", times[i].get<double>() / 1000.0 / static_cast<double>(1u << i)),
                    8, true);
  return fit(result, 8 * 5);
}

std::string row(const nlohmann::json& variant) {
  const auto chosen = variant.value("chosen", false);
  const auto agreement = variant.contains("agreement")
                           ? format("%.1f %%", real_in(variant, "agreement") * 100)
                           : std::string{"-"};
  return fit(text_in(variant, "name"), 14) + times_of(variant) + fit(agreement, 11, true) + "  "
         + (chosen ? "chosen" : printable(text_in(variant, "why_not")));
}

std::string decode_line(const nlohmann::json& x) {
  std::string result = "JPEGs: ";
  if (field(x, "images").is_number())
    result += format("%.2f ms exact, ", real_in(x, "exact_us") / 1000)
              + format("%.2f ms reduced, ", real_in(x, "reduced_us") / 1000)
              + format("agreement %.1f %%; ", real_in(x, "agreement") * 100);
  const auto why_not = text_in(x, "why_not");
  return result + "model.decode auto would choose " + text_in(x, "how")
         + (why_not.empty() ? "" : ": " + printable(why_not));
}

void print_table(const nlohmann::json& x) {
  std::string head = fit("VARIANT", 14);
  for (const auto* rows : {"1", "2", "4", "8", "16"})
    head += fit(rows, 8, true);
  print_line(paint(head + fit("AGREEMENT", 11, true), colour::bold, wants_colour(STDOUT_FILENO)));
  if (const auto& variants = field(x, "variants"); variants.is_array())
    for (const auto& each : variants)
      print_line(row(each));
  print_line("Milliseconds of a processor for an image, with so many images together.");
  print_line(decode_line(field(x, "decode")));
  for (const auto& warning : warnings_of_model(x))
    print_line("warning: " + printable(warning));
}

int bench_model(const bench_options& options) {
  auto command = check_model_command(executable_dir() / "ziyu-worker", options.folder,
                                     options.max_batch, {"auto", "auto", options.compiled_path});
  command.emplace_back("--anew");
  const auto said = capture(std::move(command), to_milliseconds(options.timeout_s));
  if (!said) {
    print_error(said.error());
    return exit_failed;
  }
  if (said->how.signal != 0 || said->how.exit_code != 0) {
    if (said->how.exit_code != 2) // else the worker program has printed why
      print_error({errc::worker_died, "ziyu-worker ended with " + said->how.describe()});
    return said->how.exit_code == 2 ? exit_wrong_usage : exit_failed;
  }
  const auto document = nlohmann::json::parse(said->output, nullptr, false);
  if (!document.is_object()) {
    print_error({errc::worker_died, "ziyu-worker did not answer in JSON"});
    return exit_failed;
  }
  if (options.json)
    print_line(dumped(document, 2));
  else
    print_table(document);
  return exit_ok;
}

} // namespace

void add_bench_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("bench", "Measure on this machine");
  command->require_subcommand(1);
  auto* model = command->add_subcommand(
    "model", "Time and agreement of a model in each precision, as TorchScript and compiled");
  auto options = std::make_shared<bench_options>();
  model->add_option("folder", options->folder, "Model folder <name>/<version>")
    ->type_name("MODEL_FOLDER")
    ->required();
  model->add_option("--compiled-path", options->compiled_path,
                    "Packages of tools/optimize_model.py (default: compiled/ in the folder)");
  model->add_option("--max-batch", options->max_batch, "Most images that run together")
    ->check(CLI::Range(1u, 16u))
    ->capture_default_str();
  add_seconds(*model, "--timeout", options->timeout_s, "Longest time for all of it");
  model->add_flag("--json", options->json, "All figures as JSON");
  model->footer(
    "What model.precision and model.decode auto would choose here, and why not the rest.\n"
    "Exit codes: 0 measured, 1 ziyu-worker failed, 2 wrong usage or no usable model.\n"
    "Example: ziyu bench model models/digits/1");
  model->callback([options, &exit_code] { exit_code = bench_model(*options); });
}

} // namespace ziyu::cli
