#include "messaging/broker/embedded_broker.hpp"

#include "base/clock.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "messaging/kafka_client.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ziyu::broker {

namespace fs = std::filesystem;
using clock = std::chrono::steady_clock;

namespace {

/// Binds 127.0.0.1:`port` for a moment. False when it is taken.
bool is_free(uint16_t port) {
  unique_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  int yes = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

expected<std::string> find_java() {
  std::vector<fs::path> candidates;
  if (auto home = std::getenv("JAVA_HOME"))
    candidates.push_back(fs::path{home} / "bin/java");
  std::istringstream folders{std::getenv("PATH") ? std::getenv("PATH") : ""};
  for (std::string folder; std::getline(folders, folder, ':');)
    candidates.push_back(fs::path{folder} / "java");
  for (const auto& x : candidates)
    if (::access(x.c_str(), X_OK) == 0)
      return x.string();
  return fail(errc::unavailable, "there is no java: run scripts/deps, or install a Java 17 runtime"
                                 " (Debian: default-jre-headless)");
}

std::string random_cluster_id() {
  for (;;) {
    std::string bytes(16, '\0');
    for (auto& x : bytes)
      x = static_cast<char>(system_environment().random());
    auto id = base64_encode(bytes).substr(0, 22);
    std::replace(id.begin(), id.end(), '+', '_');
    std::replace(id.begin(), id.end(), '/', '_');
    if (id.front() != '-')
      return id;
  }
}

/// The last lines of a log that report trouble, for an error message.
std::string trouble_in(const fs::path& log) {
  auto text = read_file(log);
  if (!text)
    return text.error().message;
  std::istringstream lines{*text};
  std::vector<std::string> found;
  for (std::string line; std::getline(lines, line);)
    if (line.find("ERROR") != std::string::npos || line.find("FATAL") != std::string::npos
        || line.find("Exception") != std::string::npos)
      found.push_back(line);
  std::string result = "see " + log.string();
  for (auto i = found.size() > 3 ? found.size() - 3 : 0; i < found.size(); ++i)
    result += "\n  " + found[i];
  return result;
}

std::string server_properties(const broker_settings& s, uint16_t port, uint16_t controller_port) {
  const auto address = "127.0.0.1:" + std::to_string(port);
  const auto controller = "127.0.0.1:" + std::to_string(controller_port);
  std::map<std::string, std::string> all{
    {"process.roles", "broker,controller"},
    {"node.id", "1"},
    {"controller.quorum.voters", "1@" + controller},
    {"controller.listener.names", "CONTROLLER"},
    {"listeners", "PLAINTEXT://" + address + ",CONTROLLER://" + controller},
    {"advertised.listeners", "PLAINTEXT://" + address},
    {"listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"},
    {"inter.broker.listener.name", "PLAINTEXT"},
    {"log.dirs", (s.folder / "data").string()},
    {"auto.create.topics.enable", "false"},
    {"group.initial.rebalance.delay.ms", "0"},
    {"default.replication.factor", "1"},
    {"min.insync.replicas", "1"},
    {"offsets.topic.num.partitions", "1"},
    {"offsets.topic.replication.factor", "1"},
    {"transaction.state.log.num.partitions", "1"},
    {"transaction.state.log.replication.factor", "1"},
    {"transaction.state.log.min.isr", "1"},
    {"share.coordinator.state.topic.num.partitions", "1"},
    {"share.coordinator.state.topic.replication.factor", "1"},
    {"share.coordinator.state.topic.min.isr", "1"},
    // Settings for a small machine.
    {"num.network.threads", "2"},
    {"num.io.threads", "4"},
    {"log.cleaner.dedupe.buffer.size", "4194304"},
    // Room for images.
    {"message.max.bytes", "33554432"},
    // The death of a test's group member is noticed soon, and a killed broker may come back soon.
    {"group.min.session.timeout.ms", "1000"},
    {"broker.session.timeout.ms", "6000"},
    {"broker.heartbeat.interval.ms", "1000"},
  };
  for (const auto& [name, value] : s.properties)
    all[name] = value;
  std::string text;
  for (const auto& [name, value] : all)
    text += name + "=" + value + "\n";
  return text;
}

std::string log_properties(const fs::path& log) {
  return "status=error\nappender.f.type=File\nappender.f.name=f\nappender.f.fileName="
         + log.string()
         + "\nappender.f.layout.type=PatternLayout\nappender.f.layout.pattern=[%d] %p %m (%c)%n\n"
           "rootLogger.level=info\nrootLogger.appenderRef.f.ref=f\n";
}

class starter {
public:
  explicit starter(broker_settings s)
    : s_(std::move(s)), deadline_(clock::now() + s_.start_limit) {}

  expected<std::pair<guarded_process, std::string>> run() {
    auto java = find_java();
    if (!java)
      return tl::unexpected(java.error());
    if (s_.jars.empty()) {
      auto jars = find_jars();
      if (!jars)
        return tl::unexpected(jars.error());
      s_.jars = *jars;
    }
    std::error_code status;
    fs::create_directories(s_.folder / "tmp", status);
    s_.folder = fs::absolute(s_.folder);
    if (status)
      return fail(errc::io, "cannot make " + s_.folder.string() + ": " + status.message());
    // Short-lived and small: only the first compiler and the serial collector.
    java_ = {*java,
             "-XX:TieredStopAtLevel=1",
             "-XX:+UseSerialGC",
             "-XX:-UsePerfData",
             "-XX:+ExitOnOutOfMemoryError",
             "-Djava.awt.headless=true",
             "-Dlog4j2.configurationFile=" + (s_.folder / "log4j2.properties").string(),
             "-Djava.io.tmpdir=" + (s_.folder / "tmp").string(),
             "-cp",
             s_.jars.string() + "/*"};
    // Of another Java or other jars, Java ignores it.
    if (const auto classes = s_.jars.parent_path() / "classes.jsa"; fs::exists(classes, status))
      java_.insert(java_.begin() + 1, "-XX:SharedArchiveFile=" + classes.string());
    if (auto ok = configure(); !ok)
      return tl::unexpected(ok.error());
    // The log of an earlier run would look like a successful start.
    fs::rename(s_.folder / "server.log", s_.folder / "server.log.old", status);
    if (!fs::exists(s_.folder / "data/meta.properties"))
      if (auto ok = format(); !ok)
        return tl::unexpected(ok.error());
    return launch();
  }

private:
  expected<void> configure() {
    // An earlier start's ports are kept: clients know them.
    const auto ports_file = s_.folder / "ports";
    uint16_t port = s_.port, old_port = 0, controller = 0;
    if (auto text = read_file(ports_file)) {
      std::istringstream in{*text};
      in >> old_port >> controller;
      port = port == 0 ? old_port : port;
    }
    if (port == 0)
      port = free_port();
    else if (!is_free(port))
      return fail(errc::io, "port " + std::to_string(port) + " of 127.0.0.1 is taken"
                              + (port == old_port ? ": perhaps a broker of " + s_.folder.string()
                                                      + " runs there already"
                                                  : ": choose another or none"));
    if (controller == 0 || !is_free(controller))
      controller = free_port();
    if (port == 0 || controller == 0)
      return fail(errc::io, "no port of 127.0.0.1 is free for a broker");
    bootstrap_ = "127.0.0.1:" + std::to_string(port);
    for (const auto& [name, text] :
         {std::pair{"server.properties", server_properties(s_, port, controller)},
          std::pair{"log4j2.properties", log_properties(s_.folder / "server.log")},
          std::pair{"ports", std::to_string(port) + " " + std::to_string(controller) + "\n"}})
      if (auto ok = write_file(s_.folder / name, text); !ok)
        return ok;
    return {};
  }

  bool cancelled() const { return s_.cancelled && s_.cancelled(); }

  expected<void> format() {
    auto command = java_;
    for (auto x : {"kafka.tools.StorageTool", "format", "-g", "-t"})
      command.emplace_back(x);
    command.push_back(random_cluster_id());
    command.emplace_back("-c");
    command.push_back((s_.folder / "server.properties").string());
    auto process = guarded_process::start(command, s_.folder / "format.log");
    if (!process)
      return tl::unexpected(process.error());
    while (process->running()) {
      if (cancelled())
        return fail(errc::stopping, "interrupted");
      if (clock::now() > deadline_)
        return fail(errc::timeout, "formatting Kafka's storage takes too long");
      process->wait(std::chrono::milliseconds{100});
    }
    if (auto how = process->wait(std::chrono::seconds{1}); how->exit_code != 0 || how->signal != 0)
      return fail(errc::io,
                  "formatting Kafka's storage failed: " + trouble_in(s_.folder / "format.log"));
    return {};
  }

  expected<std::pair<guarded_process, std::string>> launch() {
    auto command = java_;
    command.insert(command.begin() + 1, "-Xmx" + s_.heap);
    command.emplace_back("kafka.Kafka");
    command.push_back((s_.folder / "server.properties").string());
    auto process = guarded_process::start(command, s_.folder / "stdout.log");
    if (!process)
      return tl::unexpected(process.error());
    const messaging::kafka_properties client{{"bootstrap.servers", bootstrap_}};
    for (;;) {
      if (cancelled())
        return fail(errc::stopping, "interrupted");
      if (!process->running())
        return fail(errc::io, "Kafka ended at its start: " + trouble_in(s_.folder / "server.log"));
      if (clock::now() > deadline_)
        return fail(errc::timeout, "Kafka was not ready within "
                                     + std::to_string(s_.start_limit.count())
                                     + " ms: " + trouble_in(s_.folder / "server.log"));
      auto log = read_file(s_.folder / "server.log");
      const auto started = log && log->find("Kafka Server started") != std::string::npos;
      if (started && messaging::read_metadata(client, std::chrono::milliseconds{2000}))
        return std::pair{std::move(*process), bootstrap_};
      process->wait(std::chrono::milliseconds{50});
    }
  }

  broker_settings s_;
  clock::time_point deadline_;
  std::vector<std::string> java_;
  std::string bootstrap_;
};

} // namespace

expected<fs::path> find_jars() {
  auto complete = [](const fs::path& folder) {
    std::error_code status;
    for (const auto& x : fs::directory_iterator{folder, status})
      if (x.path().filename().string().starts_with("kafka_2.13-"))
        return true;
    return false;
  };
  if (auto given = std::getenv("ZIYU_KAFKA_LIB")) {
    if (complete(given))
      return fs::path{given};
    return fail(errc::unavailable,
                "ZIYU_KAFKA_LIB=" + std::string{given} + " holds no jars of Kafka");
  }
  for (auto at = executable_dir(); at != at.parent_path(); at = at.parent_path())
    if (complete(at / ".deps/kafka/lib"))
      return at / ".deps/kafka/lib";
  if (complete("/usr/share/ziyu/kafka"))
    return fs::path{"/usr/share/ziyu/kafka"};
  return fail(errc::unavailable, "Kafka's jars are missing: run scripts/deps (it puts them into"
                                 " .deps/kafka/lib), or set ZIYU_KAFKA_LIB");
}

uint16_t free_port() {
  constexpr uint16_t lowest = 10'240, width = 20'000;
  uint32_t clients = 32'768; // Linux's default
  std::ifstream{"/proc/sys/net/ipv4/ip_local_port_range"} >> clients;
  const auto end = static_cast<uint16_t>(std::clamp<uint32_t>(clients, lowest + 1, 65'535));
  const auto begin = std::max<int>(lowest, end - width);
  std::random_device dice;
  std::uniform_int_distribution<int> any{begin, end - 1};
  for (auto tries = 0; tries < 200; ++tries)
    if (const auto port = static_cast<uint16_t>(any(dice)); is_free(port))
      return port;
  return 0;
}

expected<embedded_broker> embedded_broker::start(broker_settings settings) {
  auto made = starter{std::move(settings)}.run();
  if (!made)
    return tl::unexpected(made.error());
  embedded_broker result;
  result.process_ = std::move(made->first);
  result.bootstrap_ = std::move(made->second);
  return result;
}

} // namespace ziyu::broker
