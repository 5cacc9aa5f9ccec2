#include "model/worker/memory_limit.hpp"

#include <charconv>
#include <fstream>
#include <string>

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

} // namespace

std::optional<uint64_t> read_memory_limit(const std::filesystem::path& root) {
  std::optional<uint64_t> result;
  const auto consider = [&](std::optional<uint64_t> x) {
    if (x && (!result || *x < *result))
      result = x;
  };
  std::ifstream in{root / "proc/self/cgroup"};
  // Lines "hierarchy:controllers:/path"; v2 has no controllers. Inside a container the
  // path may name a folder that only the host sees: then its own root counts.
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
    return std::nullopt; // v1 says "no limit" by a huge number
  return result;
}

void make_first_victim() { std::ofstream{"/proc/self/oom_score_adj"} << 1000; }

} // namespace ziyu::worker
