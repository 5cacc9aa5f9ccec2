// The work of a service without the service: this loop decodes, preprocesses and classifies images
// by Ziyu's own code, in as many processes as asked for. One JSON object: images a second, and the
// processor time of an image. bench/efficiency runs it.

#include "base/file.hpp"
#include "model/precision_choice.hpp"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace ziyu;
using clock_type = std::chrono::steady_clock;

struct options {
  std::filesystem::path model, images;
  std::string precision = "fp32";
  uint32_t processes = 1, batch = 1, top_k = 5;
  double seconds = 10;
};

/// What one process did; shared with its parent.
struct share {
  uint64_t images = 0;
  double cpu_ms = 0, seconds = 0;
};

double cpu_ms() {
  rusage x{};
  ::getrusage(RUSAGE_SELF, &x);
  const auto ms = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_usec) / 1e3;
  };
  return ms(x.ru_utime) + ms(x.ru_stime);
}

std::vector<std::string> read_images(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& x : std::filesystem::directory_iterator{folder})
    files.push_back(x.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> images;
  for (const auto& file : files)
    images.push_back(read_file(file).value());
  return images;
}

/// Classifies batches of the images in turn until the time is over; begins `offset` images on.
share classify(model::classifier& by, const std::vector<std::string>& images, const options& x,
               size_t offset) {
  share done;
  auto at = offset;
  const auto run = [&] {
    std::vector<std::string_view> batch;
    for (uint32_t i = 0; i < x.batch; ++i)
      batch.emplace_back(images[at++ % images.size()]);
    for (const auto& answer : by.classify(batch, x.top_k))
      if (!answer)
        throw std::runtime_error(answer.error().describe());
  };
  run(); // the first one of this size prepares its plan
  const auto began = clock_type::now();
  const auto cpu = cpu_ms();
  do {
    run();
    done.images += x.batch;
    done.seconds = std::chrono::duration<double>(clock_type::now() - began).count();
  } while (done.seconds < x.seconds);
  done.cpu_ms = cpu_ms() - cpu;
  return done;
}

int run(const options& x) {
  const auto images = read_images(x.images);
  if (images.empty())
    throw std::runtime_error(x.images.string() + " has no images");
  auto wish = model::precision_wish::fp32;
  if (!from_string(x.precision, wish))
    throw std::runtime_error(x.precision + " is no precision");
  auto chosen = model::choose_model(x.model, {}, {.wish = wish, .most_rows = x.batch});
  if (!chosen)
    throw std::runtime_error(chosen.error().describe());
  auto* by = &chosen->by;
  if (auto warmed = by->warm_up(); !warmed)
    throw std::runtime_error(warmed.error().describe());
  const auto together = by->model().measure_batches(x.batch);
  auto* shares = static_cast<share*>(::mmap(nullptr, sizeof(share) * x.processes,
                                            PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                                            0));
  if (shares == MAP_FAILED)
    throw std::runtime_error("mmap failed");
  for (uint32_t i = 0; i < x.processes; ++i)
    if (const auto pid = ::fork(); pid < 0) {
      throw std::runtime_error("fork failed");
    } else if (pid == 0) {
      try {
        shares[i] = classify(*by, images, x, i * images.size() / x.processes);
      } catch (const std::exception& e) {
        std::fprintf(stderr, "bench_bare_loop: %s\n", e.what());
      }
      ::_exit(0);
    }
  while (::wait(nullptr) > 0) {
  }
  double per_second = 0, cpu = 0;
  uint64_t count = 0;
  for (uint32_t i = 0; i < x.processes; ++i) {
    if (shares[i].images == 0)
      throw std::runtime_error("a process ended without an answer");
    per_second += static_cast<double>(shares[i].images) / shares[i].seconds;
    cpu += shares[i].cpu_ms;
    count += shares[i].images;
  }
  std::cout << nlohmann::json{{"images_per_second", per_second},
                              {"cpu_ms_per_image", cpu / static_cast<double>(count)},
                              {"processes", x.processes},
                              {"batch", x.batch},
                              {"most_together", by->model().max_batch()},
                              {"batch_us", together},
                              {"precision", by->model().folder().precision},
                              {"variant", chosen->name}}
                 .dump()
            << '\n';
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  options x;
  CLI::App app{"Classifies images in a bare loop."};
  app.add_option("--model", x.model, "Model folder")->required();
  app.add_option("--images", x.images, "Folder of images")->required();
  app.add_option("--processes", x.processes, "Processes, each with one thread");
  app.add_option("--precision", x.precision, "fp32, bf16 or auto");
  app.add_option("--batch", x.batch, "Images at a time");
  app.add_option("--seconds", x.seconds, "How long");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(x);
  } catch (const std::exception& e) {
    std::cerr << "bench_bare_loop: " << e.what() << '\n';
    return 1;
  }
}
