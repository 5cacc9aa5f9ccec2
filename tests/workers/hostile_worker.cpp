// A fork server whose workers break the protocol, each in the way that the name of the model
// says: `--model ANYWHERE/<way>/1`. "honest" is one that does not.

#include "supervision/wire/socket.hpp"

#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace ziyu;

namespace {

void send_bytes(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::write(fd, bytes.data(), bytes.size());
    if (n <= 0)
      ::_exit(0);
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

std::string header_of(uint8_t type, uint32_t body_size) {
  std::string x(wire::header_size, '\0');
  std::memcpy(x.data(), &wire::magic, 2);
  std::memcpy(x.data() + 2, &wire::version, 1);
  std::memcpy(x.data() + 3, &type, 1);
  std::memcpy(x.data() + 4, &body_size, 4);
  return x;
}

void send(int fd, const wire::frame& x) {
  if (!wire::send_frame(fd, x))
    ::_exit(0);
}

/// What comes right after `ready`.
void misbehave(const std::string& way, int fd) {
  wire::profiled dump;
  dump.what = wire::profile::dump;
  dump.heap = std::string(1 << 20, 'x');
  if (way == "unasked_trimmed")
    send(fd, wire::trimmed{});
  else if (way == "unasked_profiled")
    send(fd, dump);
  else if (way == "unasked_result")
    send(fd, wire::result{});
  else if (way == "ready_twice")
    send(fd, wire::ready{::getpid(), 1, {}});
  else if (way == "server_words")
    send(fd, wire::exited{1, 0, 9, 0});
  else if (way == "huge_result")
    send_bytes(fd, header_of(5, 200u << 20) + std::string(1 << 20, '\0'));
  else if (way == "huge_dump")
    send_bytes(fd, header_of(13, 200u << 20) + std::string(1 << 20, '\0'));
  else if (way == "half_a_frame")
    send_bytes(fd, header_of(5, 1000) + "half");
  else if (way == "chatty")
    for (auto i = 0; i < 2'000; ++i)
      std::fprintf(stderr, "libfoo warning: line %d\n", i);
  else if (way == "honest")
    std::fputs("libfoo warning: 金毛犬 has a \"bad\" profile\n", stderr);
}

[[noreturn]] void run_worker(const std::string& way, int fd) {
  ::signal(SIGPIPE, SIG_IGN);
  wire::ready news;
  news.pid = ::getpid();
  send(fd, news);
  for (auto begun = false;;) {
    auto incoming = wire::receive_frame(fd);
    if (!incoming)
      ::_exit(0);
    if (std::holds_alternative<wire::stop>(incoming->content))
      ::_exit(0);
    if (const auto batch = std::get_if<wire::batch>(&incoming->content)) {
      wire::answer each;
      each.top_k = {{5, 1, "五"}};
      wire::result answer;
      answer.attempt_id = batch->attempt_id;
      answer.answers.assign(batch->jobs.size(), each);
      send(fd, answer);
    } else if (std::holds_alternative<wire::assign>(incoming->content) && !begun) {
      begun = true;
      misbehave(way, fd);
    }
  }
}

} // namespace

int main(int argc, char** argv) {
  std::filesystem::path model;
  for (auto i = 1; i + 1 < argc; ++i)
    if (std::string{argv[i]} == "--model")
      model = argv[i + 1];
  const auto way = model.parent_path().filename().string();
  constexpr auto control = 3;
  wire::server_ready news;
  news.pid = ::getpid();
  news.model_name = way;
  news.model_version = "1";
  news.precision = "fp32";
  news.classes = 10;
  send(control, news);
  for (;;) {
    pollfd entry{control, POLLIN, 0};
    const auto due = ::poll(&entry, 1, 10) > 0;
    auto status = 0;
    for (auto pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG))
      send(control, wire::exited{pid, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
                                 WIFSIGNALED(status) ? WTERMSIG(status) : 0, 0});
    if (!due)
      continue;
    auto incoming = wire::receive_frame(control);
    if (!incoming || std::holds_alternative<wire::stop>(incoming->content))
      return 0;
    const auto request = std::get_if<wire::spawn>(&incoming->content);
    if (request == nullptr)
      continue;
    const auto pid = ::fork();
    if (pid == 0) {
      ::close(control);
      run_worker(way, incoming->fds.at(0).get());
    }
    incoming->fds.clear();
    send(control, wire::spawned{request->spawn_id, pid, 1, pid < 0 ? "fork" : ""});
  }
}
