#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ziyu::model::compiled {

/// The kind of machine that code is compiled for: it is of no use on another.
struct host {
  std::string vendor; ///< "AuthenticAMD"
  uint32_t family = 0, model = 0;
  std::string isa;   ///< The instruction sets that matter, by name: "avx2 avx512f fma".
  std::string torch; ///< "2.15.0"
  bool operator==(const host&) const = default;

  /// The name of the folder for packages of this kind of machine.
  std::string folder() const;
  /// For messages: "AuthenticAMD 25/17 (avx2 fma) with PyTorch 2.15.0".
  std::string describe() const;
};

/// What the text of /proc/cpuinfo says of the first processor.
host host_of(std::string_view cpuinfo, std::string torch);

/// This machine, with the libtorch of this program.
host this_host();

} // namespace ziyu::model::compiled
