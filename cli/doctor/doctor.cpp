#include "base/bytes.hpp"
#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/common/errors.hpp"
#include "cli/common/interrupt.hpp"
#include "cli/common/json.hpp"
#include "cli/common/options.hpp"
#include "cli/doctor/examination.hpp"
#include "cli/view/drawing.hpp"
#include "supervision/wire/fault_spec.hpp"

#include <memory>

#include <unistd.h>

namespace ziyu::cli {

namespace {

struct doctor_options {
  std::string model, images, container, cache, svg, flame, fault;
  uint64_t jobs = 200;
  uint32_t slots = 0;
  double timeout_s = 30, load_timeout_s = 60;
  bool json = false;
};

expected<examination> to_examination(const doctor_options& o) {
  examination x;
  x.worker = executable_dir() / "ziyu-worker";
  x.helper = executable_dir() / "ziyu";
  x.model = o.model;
  x.jobs = o.jobs;
  x.slots = o.slots;
  x.fault = o.fault;
  x.load_limit = to_milliseconds(o.load_timeout_s);
  x.answer_limit = to_milliseconds(o.timeout_s);
  if (auto fault = wire::parse_fault(o.fault); !fault)
    return fail(errc::invalid_usage, "--fault: " + fault.error().message);
  if (!o.container.empty()) {
    const auto limit = parse_bytes(o.container);
    if (!limit || *limit == 0)
      return fail(errc::invalid_usage,
                  "--container: " + (limit ? std::string{"0 bytes"} : limit.error().message));
    x.container_limit = *limit;
  }
  if (!o.cache.empty()) {
    const auto bytes = parse_bytes(o.cache);
    if (!bytes)
      return fail(errc::invalid_usage, "--cache: " + bytes.error().message);
    x.cache = *bytes;
  }
  for (const auto& [flag, file] : {std::pair{"--svg", o.svg}, {"--flame", o.flame}}) {
    if (file.empty())
      continue;
    const auto folder = std::filesystem::path{file}.parent_path();
    if (std::error_code ignored; !folder.empty() && !std::filesystem::is_directory(folder, ignored))
      return fail(errc::invalid_usage,
                  std::string{flag} + " " + file + ": " + folder.string() + " is not a folder");
  }
  if (o.images.empty()) {
    x.images = synthetic_images();
    x.source = "generated, 1x1 to 4000x3000 (--images DIR for your own)";
    return x;
  }
  auto images = images_of(o.images);
  if (!images)
    return tl::unexpected(error{errc::invalid_usage, "--images: " + images.error().message});
  x.images = std::move(*images);
  x.source = counted(x.images.size(), "file") + " of " + o.images;
  return x;
}

bool is_models_fault(errc x) {
  return x == errc::model_missing || x == errc::model_corrupt || x == errc::model_mismatch
         || x == errc::labels_mismatch || x == errc::invalid_config;
}

/// Writes the requested files.
expected<void> write_files(const doctor_options& o, const diagnosis& x) {
  if (!o.svg.empty() && !x.series.empty())
    if (auto ok = write_file(o.svg, to_svg(memory_chart(x))); !ok)
      return ok;
  if (!o.flame.empty()) {
    if (x.explanation)
      return write_file(o.flame, x.explanation->flame);
    std::fprintf(stderr, "ziyu: nothing grew that could be sampled: %s is not written\n",
                 printable(o.flame).c_str());
  }
  return {};
}

int run_doctor(const doctor_options& o) {
  auto x = to_examination(o);
  if (!x) {
    print_error(x.error());
    return exit_wrong_usage;
  }
  catch_interrupts();
  x->cancelled = interrupted;
  const auto found = examine(*x);
  if (!found) {
    print_error(found.error());
    return found.error().code == errc::stopping  ? int{exit_interrupted}
           : is_models_fault(found.error().code) ? int{exit_wrong_usage}
                                                 : int{exit_failed};
  }
  if (o.json)
    print_line(dumped(to_json(*found), 2));
  else
    for (const auto& line :
         draw(*found, terminal_width(STDOUT_FILENO), wants_colour(STDOUT_FILENO)))
      print_line(line);
  const auto written = write_files(o, *found);
  return written ? exit_code_of(*found) : give_up(written.error());
}

} // namespace

void add_doctor_command(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand(
    "doctor",
    "Examine a model without Kafka: whether it leaks, where, and how much memory it needs");
  auto options = std::make_shared<doctor_options>();
  command->add_option("model", options->model, "Model folder <name>/<version>")
    ->required()
    ->type_name("MODEL_FOLDER");
  command
    ->add_option("--images", options->images,
                 "Use the images of this folder and below (default: generated images)")
    ->type_name("DIR");
  command
    ->add_option("--jobs", options->jobs,
                 "How many jobs to judge by; up to ten times as many while it is not known\n"
                 "whether growth ends")
    ->check(CLI::Range(1, 10'000'000))
    ->capture_default_str();
  command
    ->add_option(
      "--container", options->container,
      "Recommend settings for a container of this memory, e.g., 2GiB (default: this one)")
    ->type_name("BYTES");
  command
    ->add_option("--cache", options->cache,
                 "What the model's own caches hold when they are full, e.g., 32MiB; 0: it has\n"
                 "none (default: not known)")
    ->type_name("BYTES");
  command->add_option("--slots", options->slots, "Recommend settings for this number of slots")
    ->check(CLI::Range(1, 1024))
    ->type_name("N");
  add_seconds(*command, "--timeout", options->timeout_s, "Longest wait for each job");
  add_seconds(*command, "--load-timeout", options->load_timeout_s,
              "Longest wait until the model is loaded and warm");
  command->add_flag("--json", options->json, "The findings as JSON");
  command->add_option("--svg", options->svg, "Write a chart of memory over the jobs")
    ->type_name("FILE");
  command
    ->add_option("--flame", options->flame,
                 "Write what grew as folded stacks, for flame graphs (when it leaks)")
    ->type_name("FILE");
  command
    ->add_option("--fault", options->fault,
                 "Inject this fault into each job, to try the doctor, e.g., native_malloc:64KiB")
    ->type_name("FAULT");
  command->footer(
    "Exit codes: 0 healthy (also if it grew and the growth ended), 1 the worker failed or\n"
    "there is no verdict (also if it is not known whether growth ends), 2 wrong usage or\n"
    "no usable model, 3 it leaks, 130 interrupted.");
  command->callback([options, &exit_code] { exit_code = run_doctor(*options); });
}

} // namespace ziyu::cli
