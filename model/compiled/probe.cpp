#include "model/compiled/probe.hpp"

#include "base/descriptor.hpp"
#include "model/compiled/compiled_model.hpp"

#include <ATen/ops/abs.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace ziyu::model::compiled {
namespace {

using clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr auto measured_runs = 3;
/// Code that takes so many times what TorchScript takes serves in no case.
constexpr auto hopeless = 3;

/// Of this thread.
int64_t processor_us() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000 + now.tv_nsec / 1'000;
}

std::string thread_count() {
  std::ifstream in{"/proc/self/status"};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("Threads:\t"))
      return line.substr(9);
  return "?";
}

/// How much an answer differs from what is wanted; empty: as little as it may.
std::string difference(const at::Tensor& got, const at::Tensor& wanted, double tolerance) {
  if (!got.defined() || got.sizes() != wanted.sizes())
    return "answers of another shape";
  const auto largest = wanted.abs().max().item<double>();
  const auto off = (got.to(at::kFloat) - wanted).abs().max().item<double>();
  if (off <= tolerance * largest) // not true of NaN
    return {};
  return "answers that differ by up to " + std::to_string(off) + " where the largest is "
         + std::to_string(largest);
}

/// In the child: the times, or what is wrong.
expected<std::vector<uint32_t>> try_out(const package& x, const std::vector<trial>& trials,
                                        double tolerance) {
  const auto rows = static_cast<uint32_t>(trials.back().input.size(0));
  auto loaded = compiled_model::load(x, rows);
  if (!loaded)
    return tl::unexpected<error>(loaded.error());
  std::vector<uint32_t> times;
  try {
    for (const auto& each : trials) {
      auto best = INT64_MAX;
      for (auto i = 0; i < measured_runs; ++i) {
        const auto start = processor_us();
        const auto got = loaded->run(each.input);
        best = std::min(best, processor_us() - start);
        if (const auto wrong = difference(got, each.wanted, tolerance); !wrong.empty())
          return fail(errc::model_mismatch,
                      "it gives " + std::to_string(each.input.size(0)) + " images " + wrong);
      }
      times.push_back(static_cast<uint32_t>(std::clamp<int64_t>(best, 1, UINT32_MAX)));
      if (best / hopeless > each.us)
        break;
    }
  } catch (const std::exception& e) {
    const std::string text = e.what();
    return fail(errc::model_mismatch, "it fails: " + text.substr(0, text.find('\n')));
  }
  if (const auto threads = thread_count(); threads != "1")
    return fail(errc::model_mismatch, "it has started threads: there are " + threads);
  return times;
}

[[noreturn]] void run_child(int fd, const package& x, const std::vector<trial>& trials,
                            double tolerance) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  const auto outcome = try_out(x, trials, tolerance);
  const auto text = outcome ? json{{"us", *outcome}}
                            : json{{"code", to_string(outcome.error().code)},
                                   {"message", outcome.error().message}};
  write_all(fd, text.dump(-1, ' ', false, json::error_handler_t::replace));
  ::_exit(0);
}

/// All that the child writes before it ends; false at the deadline.
bool read_to_end(int fd, std::string& text, clock::time_point deadline) {
  for (char buffer[4096];;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock::now());
    if (left.count() <= 0)
      return false;
    pollfd entry{fd, POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(left.count())) <= 0)
      continue;
    const auto size = ::read(fd, buffer, sizeof buffer);
    if (size == 0 || (size < 0 && errno != EINTR))
      return true;
    if (size > 0)
      text.append(buffer, static_cast<size_t>(size));
  }
}

expected<std::vector<uint32_t>> outcome_of(const std::string& text, int status) {
  const auto said = json::parse(text, nullptr, false);
  if (said.is_object() && said.contains("us"))
    return said.at("us").get<std::vector<uint32_t>>();
  if (said.is_object() && said.contains("message")) {
    error result{errc::model_mismatch, said.at("message")};
    from_string(said.at("code").get<std::string>(), result.code);
    return tl::unexpected(std::move(result));
  }
  return fail(errc::worker_died, WIFSIGNALED(status) ? "its code ended with signal "
                                                         + std::to_string(WTERMSIG(status)) + " ("
                                                         + ::strsignal(WTERMSIG(status)) + ")"
                                                     : "its code ended the process with exit code "
                                                         + std::to_string(WEXITSTATUS(status)));
}

} // namespace

expected<std::vector<uint32_t>> probe(const package& x, const std::vector<trial>& trials,
                                      const probe_limits& limits) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return fail(errc::io, std::string{"pipe: "} + std::strerror(errno));
  const auto child = ::fork();
  if (child == 0)
    run_child(ends[1], x, trials, limits.tolerance);
  ::close(ends[1]);
  std::string text;
  const auto ended = child > 0 && read_to_end(ends[0], text, clock::now() + limits.patience);
  ::close(ends[0]);
  if (child < 0)
    return fail(errc::io, std::string{"fork: "} + std::strerror(errno));
  if (!ended)
    ::kill(child, SIGKILL);
  auto status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR)
    continue;
  if (!ended)
    return fail(errc::timeout,
                "its code did not end within " + std::to_string(limits.patience.count()) + " ms");
  return outcome_of(text, status);
}

} // namespace ziyu::model::compiled
