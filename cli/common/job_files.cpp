#include "cli/common/job_files.hpp"

#include "base/ascii.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace ziyu::cli {

namespace {

namespace fs = std::filesystem;

constexpr std::array extensions{".png",  ".jpg", ".jpeg", ".bmp", ".webp", ".tif",
                                ".tiff", ".gif", ".pgm",  ".ppm", ".pbm",  ".jp2"};

/// Of a list: so that one that never ends takes bounded memory. PATH_MAX, and about 300 MiB.
constexpr size_t longest_path = 4096, most_files = 1'000'000;

bool is_image(const fs::path& path) {
  const auto extension = ascii_lower(path.extension().string());
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

expected<void> add(const fs::path& path, std::vector<job_file>& files) {
  std::error_code status;
  if (!fs::is_directory(path, status)) {
    if (!fs::exists(path, status))
      return fail(errc::invalid_usage, path.string() + ": no such file or folder");
    files.push_back({path, to_utf8(path.filename().string())});
    return {};
  }
  std::vector<job_file> found;
  for (fs::recursive_directory_iterator i{path, status}, end; !status && i != end;
       i.increment(status))
    if (std::error_code ignored; i->is_regular_file(ignored) && is_image(i->path()))
      found.push_back({i->path(), to_utf8(i->path().lexically_relative(path).string())});
  if (status)
    return fail(errc::io, path.string() + ": " + status.message());
  if (found.empty())
    return fail(errc::invalid_usage, path.string() + ": no images in this folder");
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  std::move(found.begin(), found.end(), std::back_inserter(files));
  return {};
}

/// The next line of `list`, whatever comes there. Nothing at its end.
expected<std::optional<std::string>> next_line(std::istream& list) {
  std::string line;
  for (auto* in = list.rdbuf();;) {
    const auto c = in->sbumpc();
    if (c == std::char_traits<char>::eof() && line.empty())
      return std::optional<std::string>{};
    if (c == std::char_traits<char>::eof() || c == '\n')
      break;
    if (line.size() == longest_path)
      return fail(errc::invalid_usage, "the list of paths has a line of more than "
                                         + std::to_string(longest_path)
                                         + " bytes: give one path per line");
    line += static_cast<char>(c);
  }
  if (line.ends_with('\r'))
    line.pop_back();
  return std::optional{std::move(line)};
}

expected<void> add_list(std::istream& list, std::vector<job_file>& files) {
  for (;;) {
    const auto line = next_line(list);
    if (!line)
      return tl::unexpected(line.error());
    if (!*line)
      return {};
    if (line->value().empty())
      continue;
    if (files.size() >= most_files)
      return fail(errc::invalid_usage,
                  "the list has more than " + std::to_string(most_files) + " paths: split it");
    if (auto added = add(line->value(), files); !added)
      return added;
  }
}

} // namespace

void add_inputs(CLI::App& command, std::vector<std::string>& inputs) {
  command
    .add_option("inputs", inputs,
                "Files, folders (with all below), or - for a list of paths on standard input")
    ->required()
    ->type_name("PATH");
}

expected<std::vector<job_file>> find_job_files(const std::vector<std::string>& arguments,
                                               std::istream& list) {
  std::vector<job_file> files;
  for (const auto& x : arguments) {
    if (x != "-") {
      if (auto added = add(x, files); !added)
        return tl::unexpected(added.error());
      continue;
    }
    if (auto added = add_list(list, files); !added)
      return tl::unexpected(added.error());
  }
  if (files.empty())
    return fail(errc::invalid_usage, "there is nothing to submit");
  return files;
}

job_ids::job_ids(std::optional<std::string> prefix, uint64_t random) {
  if (prefix)
    prefix_ = to_utf8(*prefix);
  char buffer[16];
  std::snprintf(buffer, sizeof buffer, "%010llx",
                static_cast<unsigned long long>(random & 0xff'ffff'ffff));
  run_ = buffer;
}

std::string job_ids::next(const std::string& name) {
  ++count_;
  if (!prefix_)
    return name + "-" + run_ + "-" + std::to_string(count_);
  auto id = *prefix_ + name;
  for (uint64_t n = 2; !used_.insert(id).second; ++n)
    id = *prefix_ + name + "-" + std::to_string(n);
  return id;
}

} // namespace ziyu::cli
