#include "cli/version.hpp"

#include "base/file.hpp"
#include "cli/common/capture.hpp"
#include "cli/common/json.hpp"

#include <CLI/CLI.hpp>
#include <caf/config.hpp>
#include <librdkafka/rdkafka.h>
#include <openssl/crypto.h>
#include <spdlog/version.h>

namespace ziyu::cli {

namespace {

template <class... Ts>
std::string dotted(Ts... xs) {
  std::string result;
  ((result += (result.empty() ? "" : ".") + std::to_string(xs)), ...);
  return result;
}

std::string line(const std::string& name, const std::string& version) {
  return name + " " + version + "\n";
}

} // namespace

std::string version_text() {
  auto result =
    line("ziyu", ZIYU_VERSION)
    + line("caf", dotted(CAF_MAJOR_VERSION, CAF_MINOR_VERSION, CAF_PATCH_VERSION))
    + line("librdkafka", rd_kafka_version_str())
    + line("nlohmann_json", dotted(NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                                   NLOHMANN_JSON_VERSION_PATCH))
    + line("spdlog", dotted(SPDLOG_VER_MAJOR, SPDLOG_VER_MINOR, SPDLOG_VER_PATCH))
    + line("cli11", CLI11_VERSION) + line("openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
  const auto worker = executable_dir() / "ziyu-worker";
  auto said = capture({worker.string(), "--version"}, std::chrono::seconds{10});
  if (!said)
    return result + "ziyu-worker: " + said.error().message + "\n";
  if (said->how.exit_code != 0 || said->how.signal != 0)
    return result + "ziyu-worker: " + said->how.describe() + "\n";
  const auto libraries = nlohmann::json::parse(said->output, nullptr, false);
  if (!libraries.is_object())
    return result + "ziyu-worker: did not answer in JSON\n";
  for (const auto& [name, version] : libraries.items())
    result += line(name, shown_in(libraries, name.c_str()));
  return result;
}

} // namespace ziyu::cli
