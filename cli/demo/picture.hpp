#pragma once

#include <string>
#include <vector>

namespace ziyu::cli {

/// Lines as a terminal shows them, as a self-contained SVG document. It supports the colours of
/// `paint`, places each character in its cell whatever font the viewer has, and draws blocks (█ ▄ ░
/// …). Lines are cut at `columns`.
/// @param title The text of the window's title bar.
std::string terminal_picture(const std::vector<std::string>& lines, size_t columns,
                             const std::string& title);

} // namespace ziyu::cli
