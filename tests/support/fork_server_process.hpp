#pragma once

#include "base/file.hpp"
#include "supervision/process.hpp"
#include "supervision/wire/socket.hpp"
#include "support/places.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include <poll.h>
#include <unistd.h>

namespace ziyu::test {

using namespace std::chrono_literals;

/// Bounds a wait, which ends much earlier when all is well.
constexpr auto patience = std::chrono::milliseconds{60'000};

inline const std::filesystem::path digits_model = std::filesystem::path{source_dir()}
                                                  / "models/digits/1";

/// Polls until `done` returns true or `patience` is over.
inline bool wait_until(const std::function<bool()>& done,
                       std::chrono::milliseconds limit = patience) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= end)
      return false;
    ::poll(nullptr, 0, 2); // leaves the processor to the processes that the test waits for
  }
  return true;
}

/// The state of a process, for the message of a test that has waited for it in vain.
inline std::string describe_process(int32_t pid) {
  std::string text;
  for (const auto name : {"stat", "wchan", "syscall", "stack"})
    if (auto content = read_file("/proc/" + std::to_string(pid) + "/" + name))
      text += "\n" + std::string{name} + ": " + *content;
  return text;
}

/// True when no process has this pid; reaps it if it is an orphan of ours.
inline bool gone(int32_t pid) {
  supervision::reap(pid);
  return ::kill(pid, 0) != 0;
}

/// A held-out image of `digit`.
inline std::string digit_image(int digit) {
  std::set<std::filesystem::path> names;
  for (const auto& x : std::filesystem::directory_iterator{source_dir() + "/tests/data/digits"})
    if (x.path().filename().string().starts_with(std::to_string(digit) + "_"))
      names.insert(x.path());
  return read_file(*names.begin()).value();
}

inline const char* digit_label(int digit) {
  static const char* labels[] = {"零", "一", "二", "三", "四", "五", "六", "七", "八", "九"};
  return labels[digit];
}

/// One worker's socket, held as the control process would hold it.
struct worker_process {
  int32_t pid = 0;
  unique_fd socket;
  wire::ready news;
  uint64_t next_attempt = 1;

  expected<wire::frame> next(std::chrono::milliseconds limit = patience) {
    auto x = wire::receive_frame(socket.get(), limit);
    if (!x)
      return tl::unexpected(x.error());
    return std::move(x->content);
  }

  void send(const wire::frame& x) {
    const auto ok = wire::send_frame(socket.get(), x);
    ASSERT_TRUE(ok) << ok.error().describe();
  }

  /// Runs one job to its answer.
  expected<wire::lone_answer> run(const std::string& image, const std::string& fault = "") {
    send(wire::batch_of_one(next_attempt++, 3, fault, image));
    auto x = next();
    if (!x)
      return tl::unexpected(x.error());
    auto answer = std::get_if<wire::result>(&*x);
    if (!answer || answer->attempt_id != next_attempt - 1 || answer->answers.size() != 1)
      return fail(errc::bad_frame, "not the answer to the job");
    return wire::lone_answer::of(*answer);
  }
};

/// A real `ziyu-worker --fork-server` at the other end of a socket pair. It and its workers end
/// with this object in any case.
class fork_server_process {
public:
  explicit fork_server_process(const std::filesystem::path& model = digits_model,
                               std::vector<std::string> options = {"--faults-allowed"}) {
    supervision::become_subreaper();
    auto pair = wire::socket_pair();
    supervision::child_specification spec;
    spec.arguments = {test::program_dir() + "/ziyu-worker",
                      "--fork-server",
                      "--model",
                      model.string(),
                      "--control-fd",
                      "3"};
    spec.arguments.insert(spec.arguments.end(), options.begin(), options.end());
    spec.control_fd = pair->second.get();
    child = std::move(supervision::child_process::start(spec).value());
    control = std::move(pair->first);
  }

  ~fork_server_process() {
    control.reset();
    child.end(5s);
    for (auto pid : pids_)
      if (!gone(pid)) {
        ::kill(pid, SIGKILL);
        wait_until([pid] { return gone(pid); });
      }
  }

  template <class Frame>
  Frame expect_frame() {
    auto x = wire::receive_frame(control.get(), patience);
    if (!x) {
      ADD_FAILURE() << x.error().describe();
      return {};
    }
    if (auto y = std::get_if<Frame>(&x->content))
      return *y;
    ADD_FAILURE() << "another frame than expected: type " << x->content.index();
    return {};
  }

  worker_process spawn(uint64_t id = 1) {
    worker_process x;
    auto pair = wire::socket_pair();
    x.socket = std::move(pair->first);
    EXPECT_TRUE(wire::send_frame(control.get(), wire::spawn{id}, {pair->second.get()}));
    pair->second.reset();
    const auto made = expect_frame<wire::spawned>();
    EXPECT_EQ(made.spawn_id, id);
    EXPECT_GT(made.pid, 0) << made.error_message;
    x.pid = made.pid;
    pids_.insert(made.pid);
    auto news = x.next();
    EXPECT_TRUE(news && std::holds_alternative<wire::ready>(*news));
    if (news && std::holds_alternative<wire::ready>(*news))
      x.news = std::get<wire::ready>(*news);
    return x;
  }

  supervision::child_process child;
  unique_fd control;

private:
  std::set<int32_t> pids_;
};

} // namespace ziyu::test
