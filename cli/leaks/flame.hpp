#pragma once

#include <string>
#include <string_view>

namespace ziyu::cli {

/// A flame graph of folded stacks ("outer;inner 1234", one per line; other lines are ignored) as a
/// self-contained SVG document without scripts. The width of a frame is its bytes. A frame is drawn
/// above its caller, and shows its name and bytes when pointed at. Frames below a thousandth of the
/// whole are not drawn. Pure.
std::string flame_svg(std::string_view folded, const std::string& title);

} // namespace ziyu::cli
