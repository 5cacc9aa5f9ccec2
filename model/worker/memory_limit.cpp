#include "model/worker/memory_limit.hpp"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ziyu::worker {

namespace {

/// The number in a file; empty for "max", or when there is no such file.
std::optional<uint64_t> read_number(const std::filesystem::path& path) {
  std::ifstream in{path};
  std::string text;
  uint64_t x = 0;
  if (!(in >> text))
    return std::nullopt;
  auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), x);
  if (status != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return x;
}

/// The smallest number of files called `name` in `folder` and its ancestors up to `top`.
std::optional<uint64_t> tightest(std::filesystem::path folder, const std::filesystem::path& top,
                                 const char* name) {
  std::optional<uint64_t> result;
  for (auto steps = 0; steps < 64; ++steps) {
    if (auto x = read_number(folder / name); x && (!result || *x < *result))
      result = x;
    if (folder == top || !folder.has_parent_path() || folder == folder.parent_path())
      break;
    folder = folder.parent_path();
  }
  return result;
}

/// The value of a line "NAME   123 kB" in bytes.
std::optional<uint64_t> read_kilobytes(const std::filesystem::path& path, std::string_view name) {
  std::ifstream in{path};
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name))
      return std::strtoull(line.c_str() + name.size(), nullptr, 10) * 1024;
  return std::nullopt;
}

std::atomic<bool> refused = false;

} // namespace

std::optional<uint64_t> read_memory_limit(const std::filesystem::path& root) {
  std::optional<uint64_t> result;
  const auto consider = [&](std::optional<uint64_t> x) {
    if (x && (!result || *x < *result))
      result = x;
  };
  std::ifstream in{root / "proc/self/cgroup"};
  // Lines "hierarchy:controllers:/path"; v2 has no controllers. Inside a container the path may
  // name a folder that only the host sees: then the mount's own root is used.
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos || second + 1 >= line.size())
      continue;
    const auto controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const auto below = std::filesystem::path{line.substr(second + 1)}.relative_path();
    for (const char* mount : {"sys/fs/cgroup", "sys/fs/cgroup/memory", "sys/fs/cgroup/unified"}) {
      const auto top = root / mount;
      if (controllers == ",,")
        consider(tightest((top / below).lexically_normal(), top, "memory.max"));
      else if (controllers.find(",memory,") != std::string::npos)
        consider(tightest((top / below).lexically_normal(), top, "memory.limit_in_bytes"));
    }
  }
  const auto machine = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES))
                       * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (result && *result >= machine)
    return std::nullopt; // v1 uses a huge number for "no limit"
  return result;
}

std::optional<uint64_t> read_private_bytes(const std::filesystem::path& proc) {
  // Clean pages are those of files, which other processes may map at any time.
  return read_kilobytes(proc / "self/smaps_rollup", "Private_Dirty:");
}

bool limit_growth(uint64_t bytes) {
  const auto mapped = read_kilobytes("/proc/self/status", "VmData:");
  rlimit now{};
  if (!mapped || ::getrlimit(RLIMIT_DATA, &now) != 0)
    return false;
  const auto wanted = static_cast<rlim_t>(*mapped + bytes);
  if (now.rlim_cur != RLIM_INFINITY && now.rlim_cur <= wanted)
    return true;
  now.rlim_cur = wanted;
  return ::setrlimit(RLIMIT_DATA, &now) == 0;
}

void lift_growth_limit() {
  rlimit now{};
  if (::getrlimit(RLIMIT_DATA, &now) == 0) {
    now.rlim_cur = now.rlim_max;
    ::setrlimit(RLIMIT_DATA, &now);
  }
}

bool was_refused_memory() { return refused.exchange(false); }

void make_first_victim() { std::ofstream{"/proc/self/oom_score_adj"} << 1000; }

} // namespace ziyu::worker

#ifdef ZIYU_SEES_REFUSALS

/// Replaces libc's for the allocator and every library of the process. Only here a refusal is seen
/// for certain: libraries report it in different ways or not at all.
extern "C" void* mmap(void* address, size_t length, int protection, int flags, int fd,
                      off_t offset) noexcept {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): so the system call has it
  const auto result = ::syscall(SYS_mmap, address, length, protection, flags, fd, offset);
  if (result == -1 && errno == ENOMEM)
    ziyu::worker::refused = true;
  return reinterpret_cast<void*>(result);
}

extern "C" void* mmap64(void* address, size_t length, int protection, int flags, int fd,
                        off_t offset) noexcept {
  return ::mmap(address, length, protection, flags, fd, offset);
}

#endif
