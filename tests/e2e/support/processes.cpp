#include "e2e/support/processes.hpp"

#include "base/file.hpp"

#include <charconv>
#include <map>
#include <set>
#include <sstream>

#include <fcntl.h>

namespace ziyu::e2e {

namespace fs = std::filesystem;

namespace {

std::optional<process_info> read_process(int32_t pid) {
  const auto text = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!text)
    return std::nullopt;
  // pid (command) state parent …; the command may hold anything, also brackets.
  const auto open = text->find('('), close = text->rfind(')');
  if (open == std::string::npos || close == std::string::npos)
    return std::nullopt;
  process_info x;
  x.pid = pid;
  std::istringstream rest{text->substr(close + 1)};
  rest >> x.state >> x.parent;
  std::string skipped;
  for (auto field = 5; field < 22; ++field)
    rest >> skipped;
  rest >> x.started;
  auto command = read_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
  for (auto& c : command)
    if (c == '\0')
      c = ' ';
  x.command = command.empty() ? text->substr(open, close - open + 1) : command.substr(0, 160);
  return x;
}

} // namespace

std::vector<process_info> descendants(int32_t root) {
  std::multimap<int32_t, process_info> by_parent;
  std::error_code status;
  for (const auto& entry : fs::directory_iterator{"/proc", status}) {
    const auto name = entry.path().filename().string();
    int32_t pid = 0;
    const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (failed != std::errc{} || end != name.data() + name.size())
      continue;
    if (auto x = read_process(pid))
      by_parent.emplace(x->parent, std::move(*x));
  }
  std::vector<process_info> found;
  std::vector<int32_t> open{root};
  std::set<int32_t> seen{root};
  while (!open.empty()) {
    const auto parent = open.back();
    open.pop_back();
    for (auto [i, end] = by_parent.equal_range(parent); i != end; ++i) {
      if (!seen.insert(i->second.pid).second)
        continue;
      open.push_back(i->second.pid);
      if (i->second.state != 'Z' && i->second.state != 'X')
        found.push_back(i->second);
    }
  }
  return found;
}

bool is_running(int32_t pid) {
  const auto x = read_process(pid);
  return x && x->state != 'Z' && x->state != 'X';
}

std::string to_string(const std::vector<process_info>& list) {
  std::string text;
  for (const auto& x : list)
    text += "  " + std::to_string(x.pid) + " (parent " + std::to_string(x.parent) + ", "
            + std::string(1, x.state) + ") " + x.command + "\n";
  return text;
}

outcome run_program(const std::vector<std::string>& command, std::chrono::milliseconds limit) {
  temp_dir folder{"ziyu-program"};
  const auto out = folder.path() / "out", err = folder.path() / "err";
  unique_fd fd{::open(out.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
  auto process = must(broker::guarded_process::start(command, err, fd.get()));
  outcome result;
  auto how = process.wait(limit);
  result.timed_out = !how;
  if (!how)
    how = process.end(std::chrono::seconds{2});
  result.exit_code = how->signal != 0 ? 128 + how->signal : how->exit_code;
  result.out = must(read_file(out));
  result.err = must(read_file(err));
  return result;
}

std::string ziyu_program() { return (executable_dir() / "ziyu").string(); }

} // namespace ziyu::e2e
