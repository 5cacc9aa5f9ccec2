#include "model/compiled/host.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <torch/version.h>

#include <algorithm>
#include <charconv>
#include <set>
#include <sstream>

namespace ziyu::model::compiled {
namespace {

// What generated code and oneDNN choose instructions by; tools/compiled_package.py has the same
// list. Sorted.
constexpr std::string_view isa_flags[] = {"amx_bf16", "amx_fp16",    "amx_int8",    "amx_tile",
                                          "avx2",     "avx512_bf16", "avx512_fp16", "avx512_vnni",
                                          "avx512bw", "avx512dq",    "avx512f",     "avx512vl",
                                          "avx_vnni", "f16c",        "fma"};

std::string value_of(std::string_view cpuinfo, std::string_view name) {
  std::istringstream lines{std::string{cpuinfo}};
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(':');
    const auto end = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    if (colon == std::string::npos || line.substr(0, end + 1) != name)
      continue;
    const auto from = line.find_first_not_of(" \t", colon + 1);
    return from == std::string::npos ? std::string{} : line.substr(from);
  }
  return {};
}

uint32_t number_of(std::string_view cpuinfo, std::string_view name) {
  const auto text = value_of(cpuinfo, name);
  uint32_t result = 0;
  std::from_chars(text.data(), text.data() + text.size(), result);
  return result;
}

} // namespace

std::string host::folder() const {
  return vendor + "-" + std::to_string(family) + "-" + std::to_string(model) + "-"
         + sha256_hex(isa).substr(0, 8) + "-torch-" + torch;
}

std::string host::describe() const {
  return vendor + " " + std::to_string(family) + "/" + std::to_string(model) + " (" + isa
         + ") with PyTorch " + torch;
}

host host_of(std::string_view cpuinfo, std::string torch) {
  std::istringstream words{value_of(cpuinfo, "flags")};
  std::set<std::string, std::less<>> flags;
  for (std::string word; words >> word;)
    flags.insert(word);
  host result{value_of(cpuinfo, "vendor_id"),
              number_of(cpuinfo, "cpu family"),
              number_of(cpuinfo, "model"),
              {},
              std::move(torch)};
  for (const auto flag : isa_flags)
    if (flags.contains(flag))
      result.isa += (result.isa.empty() ? "" : " ") + std::string{flag};
  return result;
}

host this_host() { return host_of(read_file("/proc/cpuinfo").value_or(""), TORCH_VERSION); }

} // namespace ziyu::model::compiled
