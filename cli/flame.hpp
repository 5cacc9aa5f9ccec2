#pragma once

#include <string>
#include <string_view>

namespace ziyu::cli {

/// A flame graph of folded stacks ("outer;inner 1234", a line each; other lines are left
/// out) as a self-contained SVG document without scripts: each frame is as wide as its
/// bytes, stands on its caller, and tells its name and bytes when pointed at. Frames
/// below a thousandth of all are not drawn. Pure.
std::string flame_svg(std::string_view folded, const std::string& title);

} // namespace ziyu::cli
