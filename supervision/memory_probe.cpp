#include "supervision/memory_probe.hpp"

#include "base/file.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include <unistd.h>

namespace ziyu::supervision {

namespace fs = std::filesystem;

namespace {

/// A file that holds one number; nothing for "max" and for what cannot be read.
std::optional<uint64_t> read_number(const fs::path& path) {
  auto text = read_file(path);
  if (!text)
    return std::nullopt;
  uint64_t value = 0;
  auto [end, status] = std::from_chars(text->data(), text->data() + text->size(), value);
  return status == std::errc{} ? std::optional{value} : std::nullopt;
}

/// The value of `key` in lines of "key value" (with or without ':' and unit).
std::optional<uint64_t> find_value(const std::string& text, std::string_view key) {
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string name;
    uint64_t value = 0;
    if (words >> name >> value && name == key)
      return value;
  }
  return std::nullopt;
}

/// Our path in the hierarchy of `controller` ("" for v2), from /proc/self/cgroup.
std::optional<std::string> own_group(const fs::path& root, std::string_view controller) {
  auto text = read_file(root / "proc/self/cgroup");
  if (!text)
    return std::nullopt;
  std::istringstream lines{*text};
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos)
      continue;
    const auto list = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controller.empty() ? list == ",,"
                           : list.find("," + std::string{controller} + ",") != std::string::npos)
      return line.substr(second + 1);
  }
  return std::nullopt;
}

uint64_t less(uint64_t used, uint64_t cache) { return used > cache ? used - cache : 0; }

/// Visits the folder of our group and its ancestors below `mount`, innermost first.
/// In a container the path in /proc/self/cgroup may not exist below the mount: then
/// the mount itself is our group.
template <class Visit>
void for_each_group(const fs::path& mount, const std::string& group, Visit visit) {
  auto at = (mount / fs::path{group}.relative_path()).lexically_normal();
  if (!fs::exists(at))
    at = mount;
  for (;; at = at.parent_path()) {
    visit(at);
    if (at == mount || at.string().size() <= mount.string().size())
      return;
  }
}

std::optional<container_memory> read_v2(const fs::path& root) {
  const auto mount = root / "sys/fs/cgroup";
  auto group = own_group(root, "");
  if (!group || !fs::exists(mount / "cgroup.controllers"))
    return std::nullopt;
  std::optional<container_memory> tightest;
  for_each_group(mount, *group, [&](const fs::path& at) {
    const auto limit = read_number(at / "memory.max");
    const auto used = read_number(at / "memory.current");
    if (!limit || !used || (tightest && tightest->limit <= *limit))
      return;
    const auto stat = read_file(at / "memory.stat").value_or("");
    const auto get = [&stat](std::string_view key) { return find_value(stat, key).value_or(0); };
    const auto cache = get("inactive_file") + get("active_file") + get("slab_reclaimable");
    // Pages that are in memory and in swap count once.
    const auto swapped = less(read_number(at / "memory.swap.current").value_or(0),
                              get("swapcached"));
    tightest = container_memory{less(*used, cache) + swapped, *limit, "cgroup2"};
  });
  return tightest;
}

std::optional<container_memory> read_v1(const fs::path& root) {
  const auto mount = root / "sys/fs/cgroup/memory";
  auto group = own_group(root, "memory");
  if (!group || !fs::exists(mount))
    return std::nullopt;
  std::optional<container_memory> tightest;
  for_each_group(mount, *group, [&](const fs::path& at) {
    const auto limit = read_number(at / "memory.limit_in_bytes");
    const auto used = read_number(at / "memory.usage_in_bytes");
    // Without a limit the kernel returns the largest number of whole pages.
    if (!limit || !used || *limit > uint64_t{1} << 60 || (tightest && tightest->limit <= *limit))
      return;
    const auto stat = read_file(at / "memory.stat").value_or("");
    const auto get = [&stat](std::string_view key) { return find_value(stat, key).value_or(0); };
    const auto cache = get("total_inactive_file") + get("total_active_file");
    // Present only where the kernel accounts for swap.
    const auto with_swap = read_number(at / "memory.memsw.usage_in_bytes");
    const auto swapped = with_swap ? less(*with_swap, *used) : get("total_swap");
    tightest = container_memory{less(*used, cache) + swapped, *limit, "cgroup1"};
  });
  return tightest;
}

/// The sum over all mappings; `smaps_rollup` has a single one.
process_memory from_smaps(const std::string& text, const char* source) {
  process_memory x;
  x.source = source;
  uint64_t private_clean = 0, private_dirty = 0, shared_dirty = 0;
  std::istringstream lines{text};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words{line};
    std::string name;
    uint64_t kib = 0;
    if (!(words >> name >> kib))
      continue;
    const auto bytes = kib * 1024;
    if (name == "Rss:")
      x.rss += bytes;
    else if (name == "Pss:")
      x.pss += bytes;
    else if (name == "Private_Clean:")
      private_clean += bytes;
    else if (name == "Private_Dirty:")
      private_dirty += bytes;
    else if (name == "Shared_Clean:")
      x.shared_bytes += bytes;
    else if (name == "Shared_Dirty:") {
      x.shared_bytes += bytes;
      shared_dirty += bytes;
    } else if (name == "Anonymous:")
      x.anonymous += bytes;
    else if (name == "Swap:")
      x.swapped += bytes;
  }
  // A library's clean pages are called private as soon as no other process maps them: the end
  // of another process is no growth of this one. Clean and anonymous are only pages that came
  // back from swap.
  x.private_bytes = private_dirty
                    + std::min(private_clean, less(x.anonymous, private_dirty + shared_dirty));
  return x;
}

/// Empty for a process that has released its memory.
std::optional<process_memory> from_statm(const std::string& text) {
  uint64_t size = 0, resident = 0, shared = 0;
  if (std::istringstream words{text}; !(words >> size >> resident >> shared) || resident == 0)
    return std::nullopt;
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  process_memory x;
  x.source = "statm";
  x.rss = x.pss = resident * page;
  x.shared_bytes = shared * page;
  x.private_bytes = x.anonymous = less(resident, shared) * page;
  return x;
}

} // namespace

expected<process_memory> read_process_memory(int32_t pid, const fs::path& proc) {
  const auto folder = proc / std::to_string(pid);
  auto text = read_file(folder / "smaps_rollup");
  if (text && find_value(*text, "Rss:"))
    return from_smaps(*text, "smaps_rollup");
  const auto why = text ? error{errc::io, (folder / "smaps_rollup").string()
                                            + " has no memory: the process is gone"}
                        : text.error();
  if (auto each = read_file(folder / "smaps"); each && find_value(*each, "Rss:"))
    return from_smaps(*each, "smaps");
  if (auto pages = read_file(folder / "statm"))
    if (auto x = from_statm(*pages))
      return *x;
  return tl::unexpected(why);
}

std::optional<uint64_t> read_oom_kills(const fs::path& root) {
  const auto innermost = [&](const fs::path& mount, const std::optional<std::string>& group,
                             const char* file) -> std::optional<uint64_t> {
    std::optional<uint64_t> found;
    if (group && fs::exists(mount))
      for_each_group(mount, *group, [&](const fs::path& at) {
        if (found)
          return;
        if (auto text = read_file(at / file))
          found = find_value(*text, "oom_kill");
      });
    return found;
  };
  if (auto x = innermost(root / "sys/fs/cgroup", own_group(root, ""), "memory.events"))
    return x;
  if (auto x = innermost(root / "sys/fs/cgroup/memory", own_group(root, "memory"),
                         "memory.oom_control"))
    return x;
  auto host = read_file(root / "proc/vmstat");
  return host ? find_value(*host, "oom_kill") : std::nullopt;
}

expected<container_memory> read_container_memory(const fs::path& root, uint64_t limit_override) {
  auto result = read_v2(root);
  if (!result)
    result = read_v1(root);
  if (!result) {
    auto text = read_file(root / "proc/meminfo");
    if (!text)
      return tl::unexpected(text.error());
    const auto total = find_value(*text, "MemTotal:").value_or(0) * 1024;
    const auto available = find_value(*text, "MemAvailable:").value_or(0) * 1024;
    result = container_memory{less(total, available), total, "host"};
  }
  if (limit_override > 0)
    result->limit = limit_override;
  return *result;
}

} // namespace ziyu::supervision
