#pragma once

#include "supervision/heap_profile.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace ziyu::supervision {

/// A place in a program.
struct code_location {
  std::string function; ///< Demangled, with parameters; empty when unknown.
  std::string library;  ///< File name without its folder; empty outside of any.
  std::string file;     ///< Source file; empty without debug information.
  uint32_t line = 0;
  bool operator==(const code_location&) const = default;
};

/// Names addresses of a process from the files that it has mapped. Functions come from the symbol
/// tables; lines and inlined functions come from DWARF where a file (or its separate debug file
/// below /usr/lib/debug/.build-id) has it.
///
/// One pass over a library's symbol table serves all addresses in it, so ask for many at once:
/// hundreds of addresses in libtorch (545 000 symbols) take about 0.1 s. Takes some MB while
/// it works, tens with DWARF: meant for a helper process. Reads only the files, never the
/// process.
class symbolizer {
public:
  explicit symbolizer(std::vector<mapping> mappings);

  /// For each return address, the locations that it stands for: first the functions that were
  /// inlined, the innermost first, and last the function itself. Never empty.
  std::vector<std::vector<code_location>> resolve(const std::vector<uint64_t>& addresses) const;

private:
  std::vector<mapping> mappings_;
};

/// The demangled form of `symbol`, or `symbol` itself.
std::string demangle(const char* symbol);

/// `function` without parameters, template arguments, ABI tags and return type:
/// "at::Tensor at::foo<int>(long)" becomes "at::foo". For rules and narrow columns.
std::string short_name(std::string_view function);

} // namespace ziyu::supervision
