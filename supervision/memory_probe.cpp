#include "supervision/memory_probe.hpp"

#include "base/file.hpp"

#include <charconv>
#include <optional>
#include <sstream>

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
    // What is in both, memory and swap, counts once.
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
    // Without a limit the kernel shows the largest number of whole pages.
    if (!limit || !used || *limit > uint64_t{1} << 60 || (tightest && tightest->limit <= *limit))
      return;
    const auto stat = read_file(at / "memory.stat").value_or("");
    const auto get = [&stat](std::string_view key) { return find_value(stat, key).value_or(0); };
    const auto cache = get("total_inactive_file") + get("total_active_file");
    // Only where the kernel accounts for swap.
    const auto with_swap = read_number(at / "memory.memsw.usage_in_bytes");
    const auto swapped = with_swap ? less(*with_swap, *used) : get("total_swap");
    tightest = container_memory{less(*used, cache) + swapped, *limit, "cgroup1"};
  });
  return tightest;
}

} // namespace

expected<process_memory> read_process_memory(int32_t pid, const fs::path& proc) {
  const auto path = proc / std::to_string(pid) / "smaps_rollup";
  auto text = read_file(path);
  if (!text)
    return tl::unexpected(text.error());
  auto get = [&](std::string_view key) { return find_value(*text, key).value_or(0) * 1024; };
  if (!find_value(*text, "Rss:"))
    return fail(errc::io, path.string() + " has no memory: the process is gone");
  process_memory x;
  x.rss = get("Rss:");
  x.pss = get("Pss:");
  x.private_bytes = get("Private_Clean:") + get("Private_Dirty:");
  x.shared_bytes = get("Shared_Clean:") + get("Shared_Dirty:");
  x.anonymous = get("Anonymous:");
  x.swapped = get("Swap:");
  return x;
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
