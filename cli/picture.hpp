#pragma once

#include <string>
#include <vector>

namespace ziyu::cli {

/// Lines as a terminal shows them, as a self-contained SVG document: the colours of
/// `paint` are understood, each character stands in its cell whatever font the viewer
/// has, and blocks (█ ▄ ░ …) are drawn. Lines are cut at `columns`.
/// @param title Stands in the window's title bar.
std::string terminal_picture(const std::vector<std::string>& lines, size_t columns,
                             const std::string& title);

} // namespace ziyu::cli
