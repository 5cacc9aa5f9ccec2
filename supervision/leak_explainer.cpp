#include "supervision/leak_explainer.hpp"

#include "base/descriptor.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ziyu::supervision {

namespace {

using nlohmann::json;

constexpr size_t max_request_bytes = 256u << 20, max_report_bytes = 16u << 20;

expected<unique_fd> memory_file(const char* name) {
  // dup2 makes it standard output or descriptor 3, and clears this flag.
  unique_fd result{::memfd_create(name, MFD_CLOEXEC)};
  if (!result)
    return fail(errc::io, std::string{"memfd_create: "} + std::strerror(errno));
  return result;
}

/// The whole content of a file, whatever its read position is.
expected<std::string> read_all(int fd, size_t max_bytes) {
  struct stat status {};
  if (::fstat(fd, &status) != 0)
    return fail(errc::io, std::string{"fstat: "} + std::strerror(errno));
  const auto size = static_cast<size_t>(std::max<off_t>(status.st_size, 0));
  if (size > max_bytes)
    return fail(errc::io, "it has " + std::to_string(size) + " bytes, at most "
                            + std::to_string(max_bytes) + " are read");
  std::string result(size, '\0');
  size_t done = 0;
  while (done < size) {
    const auto n = ::pread(fd, result.data() + done, size - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return fail(errc::io, "it is cut short");
    done += static_cast<size_t>(n);
  }
  return result;
}

std::string as_text(const json& x) {
  return x.dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace

expected<leak_explainer> leak_explainer::start(const std::filesystem::path& program,
                                               const leak_request& x, std::chrono::seconds limit) {
  auto request = memory_file("ziyu-leak-request"), answer = memory_file("ziyu-leak-report");
  for (const auto& file : {&request, &answer})
    if (!*file)
      return tl::unexpected(file->error());
  if (!write_all(request->get(), as_text(to_json(x))))
    return fail(errc::io, std::string{"write: "} + std::strerror(errno));
  child_specification helper;
  helper.arguments = {program.string(), "__symbolize", std::to_string(limit.count())};
  helper.control_fd = request->get();
  helper.stdout_fd = answer->get();
  helper.inherit = worker_environment(); // it reads a worker's data
  // The helper's errors are in its answer, and our standard error may be a log in JSON.
  const unique_fd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  if (null)
    helper.stderr_fd = null.get();
  helper.no_stdin = true;
  auto child = child_process::start(helper);
  if (!child)
    return tl::unexpected(child.error());
  leak_explainer result;
  result.helper_ = std::move(*child);
  result.answer_ = std::move(*answer);
  return result;
}

std::optional<expected<leak_report>> leak_explainer::poll() {
  if (auto how = helper_.wait(std::chrono::milliseconds{0}))
    return take(*how);
  return std::nullopt;
}

expected<leak_report> leak_explainer::wait(std::chrono::milliseconds limit) {
  if (auto how = helper_.wait(limit))
    return take(*how);
  return fail(errc::timeout,
              "no explanation of the leak within " + std::to_string(limit.count()) + " ms");
}

expected<leak_report> leak_explainer::take(const exit_status& how) {
  auto text = read_all(answer_.get(), max_report_bytes);
  if (!text)
    return fail(errc::io, "the explanation of a leak: " + text.error().message);
  if (how.signal != 0 || how.exit_code > 1 || text->empty())
    return fail(errc::io, "the helper that explains leaks ended with " + how.describe());
  if (how.exit_code == 1)
    return fail(errc::io, *text);
  const auto report = json::parse(*text, nullptr, false);
  if (report.is_discarded())
    return fail(errc::io, "the explanation of a leak is not JSON");
  return leak_report_from_json(report);
}

int run_leak_helper(unsigned limit_seconds) {
  constexpr unsigned longest = 600;
  ::alarm(std::clamp(limit_seconds, 1u, longest));
  const rlimit memory{rlim_t{4} << 30, rlim_t{4} << 30}, no_core{0, 0};
  ::setrlimit(RLIMIT_AS, &memory);
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setpriority(PRIO_PROCESS, 0, 10); // jobs go first
  const auto report = [&]() -> expected<leak_report> {
    auto text = read_all(3, max_request_bytes);
    if (!text)
      return tl::unexpected(text.error());
    auto parsed = json::parse(*text, nullptr, false);
    text->clear();
    if (parsed.is_discarded())
      return fail(errc::io, "the request is not JSON");
    auto request = leak_request_from_json(parsed);
    if (!request)
      return tl::unexpected(request.error());
    return explain_leak(*request);
  }();
  const auto answer = report ? as_text(to_json(*report)) : report.error().describe();
  return write_all(STDOUT_FILENO, answer) && report ? 0 : 1;
}

} // namespace ziyu::supervision
