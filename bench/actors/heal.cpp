// How long does a slot give no results when its worker is killed?
//
// Actors and worker processes are real; only Kafka is replaced, by jobs from memory. The slot
// is kept busy, and its worker is killed with SIGKILL. The clock stops at the first result of
// the next worker. The same run measures the same job in a new process, which has to load the
// model.

#include "pool.hpp"

#include "supervision/wire/socket.hpp"

#include <CLI/CLI.hpp>

#include <csignal>

namespace {

using namespace ziyu;
using namespace ziyu::bench;
using nlohmann::json;

struct options {
  std::vector<std::string> models;
  std::string image = ZIYU_SOURCE_DIR "/tests/data/digits/0_024.png";
  std::string worker = (executable_dir() / "ziyu-worker").string();
  uint32_t kills = 100, cold_starts = 10;
};

double ms_since(clock::time_point start) {
  return std::chrono::duration<double, std::milli>(clock::now() - start).count();
}

/// One slot and one standby of a model, with work for ever.
class busy_slot {
public:
  busy_slot(const options& o, const std::string& model)
    : pool_(settings(o, model)),
      image_(std::make_shared<const std::string>(need(read_file(o.image)))) {
    for (auto i = 0; i < 4; ++i)
      pool_.submit(image_);
  }

  /// The next result; another job takes its place.
  outcome next_result() {
    auto x = pool_.next();
    pool_.submit(image_);
    return x;
  }

  bool standby_ready() { return pool_.status().standbys > 0; }

private:
  static pool_settings settings(const options& o, const std::string& model) {
    pool_settings s;
    s.model = model;
    s.worker = o.worker;
    s.max_attempts = 1'000'000;      // the same jobs meet all kills
    s.restart_intensity = 1'000'000; // killing is the purpose
    return s;
  }

  pool pool_;
  std::shared_ptr<const std::string> image_;
};

struct warm_figures {
  std::vector<double> gaps_ms;
  std::vector<double> jobs_ms; ///< Between two results of one worker.
  std::vector<double> private_bytes;
};

warm_figures measure_standby(const options& o, const std::string& model) {
  busy_slot workers{o, model};
  warm_figures result;
  constexpr auto jobs_between = 12;
  for (uint32_t i = 0; i < o.kills; ++i) {
    outcome last;
    for (auto k = 0; k < jobs_between; ++k) {
      const auto before = last;
      last = workers.next_result();
      if (k > 0 && before.pid == last.pid)
        result.jobs_ms.push_back(
          std::chrono::duration<double, std::milli>(last.when - before.when).count());
    }
    const auto deadline = clock::now() + patience;
    while (!workers.standby_ready()) {
      if (clock::now() > deadline)
        give_up("no standby within 120 s");
      last = workers.next_result();
    }
    if (const auto owned = private_bytes_of(last.pid); owned > 0)
      result.private_bytes.push_back(static_cast<double>(owned));
    const auto killed = clock::now();
    ::kill(last.pid, SIGKILL);
    // Answers that the victim had already sent do not count.
    auto next = workers.next_result();
    while (next.pid == last.pid)
      next = workers.next_result();
    result.gaps_ms.push_back(std::chrono::duration<double, std::milli>(next.when - killed).count());
  }
  return result;
}

template <class Frame>
Frame await(int fd) {
  for (;;) {
    auto next = need(wire::receive_frame(fd, patience));
    if (auto x = std::get_if<Frame>(&next.content))
      return std::move(*x);
    if (auto failed = std::get_if<wire::server_failed>(&next.content))
      give_up(failed->error_message);
  }
}

/// From the start of a process to its first result.
double measure_cold_start(const options& o, const std::string& model, const std::string& image) {
  const auto start = clock::now();
  auto control = need(wire::socket_pair());
  supervision::child_specification spec;
  spec.arguments = {o.worker, "--fork-server", "--model", model, "--control-fd", "3"};
  spec.control_fd = control.second.get();
  auto process = need(supervision::child_process::start(spec));
  control.second.reset();
  await<wire::server_ready>(control.first.get());
  auto socket = need(wire::socket_pair());
  need(wire::send_frame(control.first.get(), wire::spawn{1}, {socket.second.get()}));
  socket.second.reset();
  await<wire::ready>(socket.first.get());
  need(wire::send_frame(socket.first.get(), wire::batch_of_one(1, 1, "", image)));
  await<wire::result>(socket.first.get());
  return ms_since(start);
}

json measure(const options& o, const std::string& model) {
  const auto image = need(read_file(o.image));
  std::vector<double> cold;
  for (uint32_t i = 0; i < o.cold_starts; ++i)
    cold.push_back(measure_cold_start(o, model, image));
  const auto warm = measure_standby(o, model);
  const auto description = json::parse(need(read_file(std::filesystem::path{model} / "model.json")),
                                       nullptr, false, true);
  const auto standby_p50 = percentile(warm.gaps_ms, 50), cold_p50 = percentile(cold, 50);
  return {{"model", description.value("name", model)},
          {"standby_p50_ms", standby_p50},
          {"standby_p99_ms", percentile(warm.gaps_ms, 99)},
          {"job_p50_ms", percentile(warm.jobs_ms, 50)},
          {"standby_beyond_a_job_p50_ms", standby_p50 - percentile(warm.jobs_ms, 50)},
          {"cold_p50_ms", cold_p50},
          {"cold_to_standby_ratio", cold_p50 / standby_p50},
          {"private_bytes_per_worker", percentile(warm.private_bytes, 50)},
          {"kills", warm.gaps_ms.size()},
          {"cold_starts", cold.size()}};
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app{
    "How long is a slot without results when its worker is killed?\n"
    "Prints one JSON object for the first model; those of further models are in its \"others\"."};
  app.add_option("--model", o.models,
                 "Model folder; may be repeated (default: digits, and resnet18 if it is there)");
  app.add_option("--kills", o.kills, "Workers to kill")
    ->check(CLI::Range(1, 100'000))
    ->capture_default_str();
  app.add_option("--cold-starts", o.cold_starts, "Fresh processes to start")
    ->check(CLI::Range(1, 10'000))
    ->capture_default_str();
  app.add_option("--image", o.image, "Image of every job");
  CLI11_PARSE(app, argc, argv);
  keep_quiet();
  if (o.models.empty()) {
    const std::filesystem::path known = ZIYU_SOURCE_DIR "/models";
    o.models.push_back((known / "digits/1").string());
    if (std::filesystem::exists(known / "resnet18/1/model.json"))
      o.models.push_back((known / "resnet18/1").string());
  }
  auto result = measure(o, o.models.front());
  for (size_t i = 1; i < o.models.size(); ++i)
    result["others"].push_back(measure(o, o.models[i]));
  std::printf("%s\n", result.dump(2).c_str());
  return 0;
}
