#include "supervision/heap_profile.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <unordered_map>
#include <utility>

namespace ziyu::supervision {

namespace {

struct address_hash {
  size_t operator()(const std::vector<uint64_t>& x) const noexcept {
    uint64_t h = 1469598103934665603u;
    for (auto address : x)
      h = (h ^ address) * 1099511628211u;
    return h;
  }
};

/// Reads a text step by step; each step tells whether the expected part was there.
class cursor {
public:
  explicit cursor(std::string_view text) : left_(text) {}

  bool skip(std::string_view what) {
    if (!left_.starts_with(what))
      return false;
    left_.remove_prefix(what.size());
    return true;
  }
  void skip_spaces() {
    left_.remove_prefix(std::min(left_.find_first_not_of(" \t"), left_.size()));
  }

  bool number(uint64_t& x, int base = 10) {
    auto [end, status] = std::from_chars(left_.data(), left_.data() + left_.size(), x, base);
    if (status != std::errc{})
      return false;
    left_.remove_prefix(static_cast<size_t>(end - left_.data()));
    return true;
  }
  bool at_end() const { return left_.empty(); }
  std::string_view rest() const { return left_; }

private:
  std::string_view left_;
};

struct thread_row {
  bool all = false; ///< t*: the sum over all threads.
  uint64_t objects = 0, bytes = 0;
};

/// "  t*: 28106: 56637512 [0: 0]"; a thread's name may follow.
std::optional<thread_row> parse_row(std::string_view line) {
  cursor at{line};
  at.skip_spaces();
  thread_row row;
  uint64_t ignored = 0;
  if (!at.skip("t"))
    return std::nullopt;
  row.all = at.skip("*");
  if ((!row.all && !at.number(ignored)) || !at.skip(": ") || !at.number(row.objects)
      || !at.skip(": ") || !at.number(row.bytes) || !at.skip(" [") || !at.number(ignored)
      || !at.skip(": ") || !at.number(ignored) || !at.skip("]"))
    return std::nullopt;
  return row;
}

/// Into `result`, whose memory is reused.
bool parse_addresses(std::string_view line, size_t max_depth, std::vector<uint64_t>& result) {
  cursor at{line};
  result.clear();
  if (!at.skip("@"))
    return false;
  for (;;) {
    at.skip_spaces();
    if (at.at_end())
      return true;
    uint64_t address = 0;
    if (!at.skip("0x") || !at.number(address, 16))
      return false;
    if (result.size() < max_depth)
      result.push_back(address);
  }
}

std::optional<mapping> parse_mapping(std::string_view line) {
  cursor at{line};
  mapping x;
  uint64_t ignored = 0;
  if (!at.number(x.begin, 16) || !at.skip("-") || !at.number(x.end, 16) || !at.skip(" ")
      || at.rest().size() < 5 || at.rest()[2] != 'x' || x.begin >= x.end)
    return std::nullopt;
  cursor behind{at.rest().substr(4)};
  if (!behind.skip(" ") || !behind.number(x.offset, 16) || !behind.skip(" "))
    return std::nullopt;
  auto rest = behind.rest(); // "08:01 1234   /path"
  const auto path = rest.find('/');
  if (path == std::string_view::npos)
    return std::nullopt;
  static_cast<void>(ignored);
  x.path = rest.substr(path, 4096);
  return x;
}

tl::unexpected<error> broken(size_t line, const std::string& what) {
  return fail(errc::io, "heap profile, line " + std::to_string(line) + ": " + what);
}

} // namespace

std::vector<mapping> parse_maps(std::string_view text) {
  constexpr size_t most = 16384;
  std::vector<mapping> result;
  while (!text.empty() && result.size() < most) {
    const auto end = std::min(text.find('\n'), text.size());
    if (auto x = parse_mapping(text.substr(0, end)))
      result.push_back(std::move(*x));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::sort(result.begin(), result.end(),
            [](const mapping& a, const mapping& b) { return a.begin < b.begin; });
  return result;
}

/// Passes each stack to `take` and all other content to `result`.
template <class Take>
static expected<void> scan(std::string_view text, const heap_limits& limits, heap_profile& result,
                           Take take) {
  if (text.size() > limits.max_dump_bytes)
    return fail(errc::io, "a heap profile of " + std::to_string(text.size()) + " bytes, at most "
                            + std::to_string(limits.max_dump_bytes) + " are read");
  size_t number = 0, stacks = 0;
  heap_stack current;
  auto in_stack = false, has_sum = false, keep = true;
  const auto finish = [&] {
    if (in_stack && keep)
      take(std::as_const(current));
    else if (in_stack)
      result.skipped_bytes += current.bytes;
    current.objects = current.bytes = current.threads = 0;
    in_stack = has_sum = false;
  };
  while (!text.empty()) {
    ++number;
    const auto end = text.find('\n');
    if (end == std::string_view::npos)
      return broken(number, "it is cut short");
    const auto line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (number == 1) {
      cursor at{line};
      if (!at.skip("heap_v2/") || !at.number(result.sample_bytes) || !at.at_end()
          || result.sample_bytes == 0)
        return broken(number, "not a heap profile (heap_v2)");
    } else if (line.starts_with('@')) {
      if (in_stack && !has_sum)
        return broken(number, "the stack before it has no sum");
      finish();
      if (!parse_addresses(line, limits.max_depth, current.addresses))
        return broken(number, "not a list of addresses");
      in_stack = true;
      keep = stacks++ < limits.max_stacks;
    } else if (line.starts_with("MAPPED_LIBRARIES:")) {
      result.mappings = parse_maps(text);
      break;
    } else if (!line.empty()) {
      const auto row = parse_row(line);
      if (!row)
        return broken(number, "neither a count of a thread nor a stack");
      if (in_stack && row->all) {
        current.objects = row->objects;
        current.bytes = row->bytes;
        has_sum = true;
      } else if (in_stack && row->bytes > 0) {
        ++current.threads;
      }
    }
  }
  if (number == 0)
    return fail(errc::io, "heap profile: it is empty");
  if (in_stack && !has_sum)
    return broken(number, "it is cut short");
  finish();
  return {};
}

expected<heap_profile> parse_heap_profile(std::string_view text, const heap_limits& limits) {
  heap_profile result;
  if (auto ok = scan(text, limits, result,
                     [&](const heap_stack& x) { result.stacks.push_back(x); });
      !ok)
    return tl::unexpected(ok.error());
  return result;
}

expected<void> visit_heap_profile(
  std::string_view text, const heap_limits& limits,
  const std::function<void(const heap_stack&, uint64_t sample_bytes)>& visit) {
  heap_profile result;
  return scan(text, limits, result, [&](const heap_stack& x) { visit(x, result.sample_bytes); });
}

heap_amount remove_bias(uint64_t objects, uint64_t bytes, uint64_t sample_bytes) {
  if (objects == 0 || bytes == 0 || sample_bytes == 0)
    return {};
  const auto mean = static_cast<double>(bytes) / static_cast<double>(objects);
  const auto seen = -std::expm1(-mean / static_cast<double>(sample_bytes));
  return {static_cast<double>(objects) / seen, static_cast<double>(bytes) / seen};
}

expected<std::vector<stack_growth>> diff(const heap_profile& before, const heap_profile& after) {
  if (before.sample_bytes != 0 && before.sample_bytes != after.sample_bytes)
    return fail(errc::invalid_usage, "two heap profiles of different sampling rates ("
                                       + std::to_string(before.sample_bytes) + " and "
                                       + std::to_string(after.sample_bytes)
                                       + " bytes) cannot be compared");
  std::unordered_map<std::vector<uint64_t>, stack_growth, address_hash> all;
  all.reserve(after.stacks.size());
  for (const auto& x : after.stacks) {
    const auto amount = remove_bias(x.objects, x.bytes, after.sample_bytes);
    auto& growth = all[x.addresses];
    growth.objects += amount.objects;
    growth.bytes += amount.bytes;
    growth.threads = std::max(growth.threads, x.threads);
  }
  for (const auto& x : before.stacks) {
    const auto amount = remove_bias(x.objects, x.bytes, before.sample_bytes);
    auto& growth = all[x.addresses];
    growth.objects -= amount.objects;
    growth.bytes -= amount.bytes;
  }
  std::vector<stack_growth> result;
  result.reserve(all.size());
  for (auto& [addresses, growth] : all) {
    if (growth.bytes == 0 && growth.objects == 0)
      continue;
    growth.addresses = addresses;
    result.push_back(std::move(growth));
  }
  // Equal sizes are ordered by address, so that the same dumps always give the same report.
  std::sort(result.begin(), result.end(), [](const stack_growth& a, const stack_growth& b) {
    return a.bytes != b.bytes ? a.bytes > b.bytes : a.addresses < b.addresses;
  });
  return result;
}

uint8_t choose_sample_rate(double bytes_per_job, uint64_t jobs) {
  // n samples of small objects are good to 1/√n: 400 for two standard errors of 10 %.
  constexpr double samples = 400, lowest = 9, highest = 19;
  const auto growth = std::max(bytes_per_job, 1.0)
                      * static_cast<double>(std::max<uint64_t>(jobs, 1));
  return static_cast<uint8_t>(std::clamp(std::floor(std::log2(growth / samples)), lowest, highest));
}

} // namespace ziyu::supervision
