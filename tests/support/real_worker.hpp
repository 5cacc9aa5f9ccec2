#pragma once

// A fork server and one worker of it, driven by frames as the control process does.

#include "base/file.hpp"
#include "supervision/leak_explainer.hpp"
#include "supervision/process.hpp"
#include "supervision/wire/socket.hpp"
#include "support/places.hpp"

#include <filesystem>
#include <stdexcept>
#include <string>

namespace ziyu::test {

/// Owns both processes; they end with it. Throws on a failure that is not the subject of a test,
/// which fails the test with the reason.
class real_worker {
public:
  static constexpr auto patience = std::chrono::seconds{60};

  explicit real_worker(const std::string& fault = {},
                       const std::string& model = test::source_dir() + "/models/digits/1") {
    auto control = must(wire::socket_pair());
    supervision::child_specification x;
    x.arguments = {test::program_dir() + "/ziyu-worker", "--fork-server", "--model", model,
                   "--faults-allowed"};
    x.control_fd = control.second.get();
    server_ = must(supervision::child_process::start(x));
    control.second.reset();
    control_ = std::move(control.first);
    expect<wire::server_ready>(control_);
    auto sockets = must(wire::socket_pair());
    must(wire::send_frame(control_.get(), wire::spawn{1}, {sockets.second.get()}));
    sockets.second.reset();
    socket_ = std::move(sockets.first);
    pid_ = expect<wire::spawned>(control_).pid;
    expect<wire::ready>(socket_);
    assign(fault);
  }

  int32_t pid() const { return pid_; }
  const unique_fd& socket() const { return socket_; }
  const unique_fd& control() const { return control_; }

  void assign(const std::string& fault) {
    must(wire::send_frame(socket_.get(), wire::assign{0, 1, fault}));
  }

  /// One job from start to end.
  wire::lone_answer run(const std::string& image) {
    must(wire::send_frame(socket_.get(), wire::batch_of_one(++attempt_, 1, "", image)));
    return wire::lone_answer::of(expect<wire::result>(socket_));
  }

  /// `count` jobs with the same image; the sum of their deltas of live bytes.
  int64_t run(const std::string& image, int count) {
    int64_t sum = 0;
    for (auto i = 0; i < count; ++i) {
      const auto answer = run(image);
      if (!answer.error_code.empty())
        throw std::runtime_error("job: " + answer.error_message);
      sum += answer.delta_live;
    }
    return sum;
  }

  wire::profiled profile(wire::profile::action what, uint8_t log2_sample = 19) {
    must(wire::send_frame(socket_.get(), wire::profile{what, log2_sample}));
    auto answer = expect<wire::profiled>(socket_);
    if (!answer.error_message.empty())
      throw std::runtime_error("profile: " + answer.error_message);
    return answer;
  }

  /// The next frame, which must be a T.
  template <class T>
  T expect(const unique_fd& from) {
    auto frame = must(wire::receive_frame(from.get(), patience));
    if (!std::holds_alternative<T>(frame.content))
      throw std::runtime_error("an unexpected frame of type "
                               + std::to_string(frame.content.index()));
    return std::get<T>(std::move(frame.content));
  }

private:
  template <class T>
  static T must(expected<T> x) {
    if (!x)
      throw std::runtime_error(x.error().describe());
    if constexpr (!std::is_void_v<T>)
      return std::move(*x);
  }

  supervision::child_process server_;
  unique_fd control_, socket_;
  int32_t pid_ = 0;
  uint64_t attempt_ = 0;
};

/// A 128×128 image of a digit.
inline std::string digit() {
  std::string best;
  for (const auto& file :
       std::filesystem::directory_iterator{test::source_dir() + "/tests/data/digits"})
    if (file.path().extension() == ".png")
      if (auto bytes = read_file(file.path()); bytes && bytes->size() > best.size())
        best = *bytes;
  return best;
}

/// The comparison of two dumps of one worker.
inline supervision::leak_request compare(const wire::profiled& before,
                                         const wire::profiled& after) {
  supervision::leak_request x;
  x.before = before.heap;
  x.after = after.heap;
  x.maps = after.maps;
  x.live_growth = static_cast<int64_t>(after.live) - static_cast<int64_t>(before.live);
  x.jobs = after.jobs - before.jobs;
  x.sampled_jobs = after.sampled_jobs - before.sampled_jobs;
  x.evidence.kind = supervision::growth::leak;
  return x;
}

} // namespace ziyu::test
