#include "supervision/peak_memory.hpp"

#include "base/file.hpp"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <unistd.h>

#include "base/descriptor.hpp"

namespace ziyu::supervision {

namespace {

/// The value of a line "Name:   123 kB", in bytes.
std::optional<uint64_t> find_kilobytes(std::string_view text, std::string_view name) {
  auto at = text.find(name);
  if (at == text.npos)
    return std::nullopt;
  at = text.find_first_of("0123456789", at + name.size());
  uint64_t value = 0;
  if (at == text.npos
      || std::from_chars(text.data() + at, text.data() + text.size(), value).ec != std::errc{})
    return std::nullopt;
  return value * 1024;
}

} // namespace

expected<peak_memory> read_peak_memory(int32_t pid, const std::filesystem::path& proc) {
  const auto path = proc / std::to_string(pid) / "status";
  const auto text = read_file(path);
  if (!text)
    return tl::unexpected(text.error());
  const auto resident = find_kilobytes(*text, "\nVmRSS:");
  const auto peak = find_kilobytes(*text, "\nVmHWM:");
  if (!resident || !peak)
    return fail(errc::io, path.string() + " has no memory: the process is gone");
  return peak_memory{*resident, *peak};
}

expected<void> reset_peak_memory(int32_t pid, const std::filesystem::path& proc) {
  const auto path = proc / std::to_string(pid) / "clear_refs";
  const unique_fd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (!file || ::write(file.get(), "5", 1) != 1)
    return fail(errc::io, path.string() + ": " + std::strerror(errno));
  return {};
}

uint64_t peak_private(uint64_t private_now, const peak_memory& x) {
  return private_now + (x.peak > x.resident ? x.peak - x.resident : 0);
}

} // namespace ziyu::supervision
