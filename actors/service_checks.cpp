// What can be said of a service's settings before it is made.

#include "actors/http_front.hpp"
#include "actors/service.hpp"
#include "base/file.hpp"
#include "supervision/wire/fault_spec.hpp"

#include <filesystem>

#include <unistd.h>

namespace ziyu::actors {

std::filesystem::path worker_executable(const configs::config& c) {
  return c.workers.executable.empty() ? executable_dir() / "ziyu-worker" : c.workers.executable;
}

namespace {

/// Without this folder each claim check would become a dead letter.
expected<void> check_dataref_root(const std::filesystem::path& root) {
  if (root.empty())
    return {};
  std::error_code status;
  const auto there = std::filesystem::exists(root, status);
  const auto why = status   ? "cannot be looked at: " + status.message()
                   : !there ? std::string{"does not exist"}
                   : !std::filesystem::is_directory(root, status) ? std::string{"is not a folder"}
                   : ::access(root.c_str(), X_OK) != 0
                     ? std::string{"is not accessible for this user"}
                     : std::string{};
  if (!why.empty())
    return fail(errc::invalid_config, "jobs.dataref_root: " + root.string() + " " + why);
  return {};
}

} // namespace

expected<void> check_settings(const configs::config& c) {
  for (const auto& [slot, text] : c.faults.slots)
    if (auto fault = wire::parse_fault(text); !fault)
      return fail(errc::invalid_config,
                  "faults.slots." + std::to_string(slot) + ": " + fault.error().message);
  const auto executable = worker_executable(c);
  std::error_code status;
  if (::access(executable.c_str(), X_OK) != 0
      || !std::filesystem::is_regular_file(executable, status))
    return fail(errc::invalid_config,
                "workers.executable: " + executable.string() + " is not there or not executable");
  return check_dataref_root(c.jobs.dataref_root);
}

expected<void> check_address(const configs::config& c) {
  return http_front::try_listen(c.http.host, c.http.port);
}

} // namespace ziyu::actors
