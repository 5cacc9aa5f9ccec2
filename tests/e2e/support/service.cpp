#include "e2e/support/service.hpp"

#include "base/file.hpp"
#include "e2e/support/processes.hpp"

#include <httplib.h>

#include <csignal>

#include <fcntl.h>
#include <poll.h>

namespace ziyu::e2e {

using nlohmann::json;
using clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

http_answer http_get(const std::string& address, const std::string& path) {
  const auto colon = address.rfind(':');
  httplib::Client client{address.substr(0, colon), std::stoi(address.substr(colon + 1))};
  client.set_connection_timeout(5);
  client.set_read_timeout(10);
  if (auto answer = client.Get(path))
    return {answer->status, answer->body};
  return {};
}

bool eventually(const std::function<bool()>& holds, std::chrono::milliseconds limit) {
  const auto deadline = clock::now() + limit;
  while (!holds()) {
    if (clock::now() >= deadline)
      return false;
    ::poll(nullptr, 0, 10); // leaves the processor to the processes that the test waits for
  }
  return true;
}

service::service(const std::filesystem::path& folder, const json& configuration) {
  static auto number = 0;
  const auto name = "service-" + std::to_string(++number);
  const auto file = folder / (name + ".json"), news = folder / (name + ".out");
  log_ = folder / (name + ".log");
  must(write_file(file, configuration.dump(2)));
  unique_fd out{::open(news.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  guard_ = must(broker::guarded_process::start({ziyu_program(), "serve", "--config", file.string()},
                                               log_, out.get()));
  auto serving = [&] {
    const auto text = read_file(news);
    if (!text || !text->ends_with('\n'))
      return !guard_.running();
    const auto line = json::parse(*text);
    address_ = line.at("http");
    pid_ = line.at("pid");
    return true;
  };
  if (!eventually(serving) || pid_ == 0)
    throw std::runtime_error("the service does not serve:\n" + log());
}

json service::get_json(const std::string& path) const {
  http_answer answer;
  json document;
  // An actor that does not answer in time is busy, or the machine is: it is asked again.
  const auto answered = eventually([&] {
    answer = get(path);
    document = json::parse(answer.body, nullptr, false);
    return !document.is_object() || !document.value("error", "").starts_with("timeout:");
  });
  if (!answered || document.is_discarded())
    throw std::runtime_error("GET " + path + ": status " + std::to_string(answer.status)
                             + ", body \"" + answer.body + "\"\n" + log());
  return document;
}

std::vector<int32_t> service::workers(const std::string& state) const {
  std::vector<int32_t> found;
  const auto all = get_json("/workers");
  for (const auto& x : all.at("workers"))
    if (x.at("pid") != 0 && (state.empty() || x.at("state") == state))
      found.push_back(x.at("pid"));
  return found;
}

int32_t service::fork_server() const { return get_json("/workers").at("fork_server").at("pid"); }

void service::await_workers(size_t serving, size_t standbys) const {
  auto there = [&] {
    return workers("serving").size() == serving && workers("standby").size() == standbys;
  };
  if (!eventually(there))
    throw std::runtime_error("not all workers came up: " + get("/workers").body + log());
}

void service::signal(int number) const { ::kill(pid_, number); }

std::optional<int> service::wait(std::chrono::milliseconds limit) {
  const auto how = guard_.wait(limit);
  if (!how)
    return std::nullopt;
  return how->signal != 0 ? 128 + how->signal : how->exit_code;
}

int service::stop(std::chrono::milliseconds limit) {
  signal(SIGTERM);
  if (auto code = wait(limit))
    return *code;
  guard_.end(0ms);
  return 128 + SIGKILL;
}

std::string service::log() const {
  constexpr size_t limit = 6000;
  auto text = read_file(log_).value_or("(no log)");
  return text.size() <= limit ? text : "…" + text.substr(text.size() - limit);
}

} // namespace ziyu::e2e
