#pragma once

#include <string>

namespace ziyu::test {

/// The root of the sources that this build was made from, without a slash at the end.
/// By a function, not by a macro: a test that is compiled without the path of its clone is
/// found in ccache by every other clone.
const std::string& source_dir();

/// The folder of the programs of this build, without a slash at the end.
const std::string& program_dir();

} // namespace ziyu::test
