#include "model/compiled/probe.hpp"

#include "base/descriptor.hpp"
#include "base/own_process.hpp"
#include "model/compiled/compiled_model.hpp"
#include "model/least_time.hpp"
#include "model/torch_reason.hpp"

#include <ATen/ops/abs.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ziyu::model::compiled {
namespace {

using clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr auto measured_runs = 3;
/// Code that takes so many times what TorchScript takes serves in no case.
constexpr auto hopeless = 3;

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
      std::vector<at::Tensor> answers;
      times.push_back(*least_time(measured_runs, [&] {
        answers.push_back(loaded->run(each.input));
        return true;
      }));
      for (const auto& got : answers)
        if (const auto wrong = difference(got, each.wanted, tolerance); !wrong.empty())
          return fail(errc::model_mismatch,
                      "it gives " + std::to_string(each.input.size(0)) + " images " + wrong);
      if (times.back() / hopeless > each.us)
        break;
    }
  } catch (const std::exception& e) {
    return fail(errc::model_mismatch, "it fails: " + reason(e));
  }
  if (const auto threads = count_threads(); threads != 1)
    return fail(errc::model_mismatch,
                "it has started threads: there are " + std::to_string(threads));
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
  unique_fd from{ends[0]}, to{ends[1]};
  const auto child = ::fork();
  if (child == 0)
    run_child(to.get(), x, trials, limits.tolerance);
  if (child < 0)
    return fail(errc::io, std::string{"fork: "} + std::strerror(errno));
  to.reset();
  std::string text;
  const auto ended = read_to_end(from.get(), text, clock::now() + limits.patience);
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
