#include "cli/leaks/flame.hpp"

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "cli/view/drawing.hpp"
#include "cli/view/svg.hpp"

#include <algorithm>
#include <charconv>
#include <map>

namespace ziyu::cli {

namespace {

using svg::number;

constexpr double width = 1200, margin = 12, row = 18, head = 52, least_share = 0.001;
constexpr double column = 6.7; ///< Width of a character at font size 11, in px.
/// Deeper than a reader follows, and far from the limit of our own stack.
constexpr size_t max_depth = 256;

struct frame {
  double bytes = 0;
  std::map<std::string, frame, std::less<>> callees;
};

/// The tree of all stacks; its root stands for all of them.
frame tree_of(std::string_view folded) {
  frame root;
  while (!folded.empty()) {
    const auto end = std::min(folded.find('\n'), folded.size());
    const auto line = folded.substr(0, end);
    folded.remove_prefix(std::min(end + 1, folded.size()));
    const auto space = line.rfind(' ');
    double bytes = 0;
    if (space == line.npos || space == 0
        || std::from_chars(line.data() + space + 1, line.data() + line.size(), bytes).ec
             != std::errc{}
        || !(bytes > 0) || bytes > 1e18)
      continue;
    root.bytes += bytes;
    auto* at = &root;
    auto stack = line.substr(0, space);
    for (size_t depth = 0; !stack.empty() && depth < max_depth; ++depth) {
      const auto semicolon = std::min(stack.find(';'), stack.size());
      at = &at->callees[std::string{stack.substr(0, semicolon)}];
      at->bytes += bytes;
      stack.remove_prefix(std::min(semicolon + 1, stack.size()));
    }
  }
  return root;
}

size_t depth_of(const frame& x, double least) {
  size_t deepest = 0;
  for (const auto& [name, callee] : x.callees)
    if (callee.bytes >= least)
      deepest = std::max(deepest, 1 + depth_of(callee, least));
  return deepest;
}

/// A warm colour; a name has the same colour in each picture.
std::string colour_of(std::string_view name) {
  uint32_t hash = 2166136261u;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return format("rgb(%u,%u,%u)", 214 + hash % 42, 100 + (hash >> 8) % 110, 40 + (hash >> 16) % 50);
}

class picture {
public:
  picture(const frame& root, double floor) : root_(root), floor_(floor) {}

  /// Draws a frame from `x` on, `level` frames above the bottom, and its callees on top of it.
  void draw(const std::string& name, const frame& f, double x, size_t level) {
    if (f.bytes < least_share * root_.bytes)
      return;
    const auto w = f.bytes / root_.bytes * (width - 2 * margin);
    const auto y = floor_ - static_cast<double>(level + 1) * row;
    const auto said = name + ": " + format_bytes(static_cast<int64_t>(f.bytes))
                      + format(" (%.1f %%)", f.bytes / root_.bytes * 100);
    out_ += "<g><title>" + svg::escape(said) + "</title><rect x=\"" + number(x) + "\" y=\""
            + number(y) + "\" width=\"" + number(std::max(w - .5, .5)) + "\" height=\""
            + number(row - 1) + "\" rx=\"2\" fill=\"" + colour_of(name) + "\"/>";
    if (const auto columns = static_cast<size_t>((w - 6) / column); w > 6 && columns >= 3) {
      auto shown = fit(name, columns);
      shown.erase(shown.find_last_not_of(' ') + 1);
      out_ += "<text x=\"" + number(x + 3) + "\" y=\"" + number(y + 12.5) + "\">"
              + svg::escape(shown) + "</text>";
    }
    out_ += "</g>\n";
    for (const auto& [callee, callee_frame] : f.callees) {
      draw(callee, callee_frame, x, level + 1);
      x += callee_frame.bytes / root_.bytes * (width - 2 * margin);
    }
  }

  std::string take() { return std::move(out_); }

private:
  const frame& root_;
  double floor_;
  std::string out_;
};

} // namespace

std::string flame_svg(std::string_view folded, const std::string& title) {
  const auto root = tree_of(folded);
  const auto levels = root.bytes > 0 ? 1 + depth_of(root, least_share * root.bytes) : 1;
  const auto floor = head + static_cast<double>(levels) * row, height = floor + margin;
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " "
                    + number(height) + "\" width=\"" + number(width) + "\" height=\""
                    + number(height)
                    + "\" font-family=\"'DejaVu Sans Mono', 'Noto Sans Mono CJK SC', monospace\" "
                      "font-size=\"11\" fill=\"#1b1f24\">\n"
                      "<style>g:hover rect{stroke:#1b1f24}</style>\n"
                      "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#ffffff\"/>\n"
                      "<text x=\""
                    + number(margin) + "\" y=\"30\" font-size=\"15\" font-weight=\"600\">"
                    + svg::escape(title) + "</text>\n";
  if (root.bytes > 0) {
    picture frames{root, floor};
    frames.draw("all", root, margin, 0);
    out += frames.take();
  } else {
    out += "<text x=\"" + number(margin) + "\" y=\"" + number(head + 12) + "\">no stacks</text>\n";
  }
  return out + "</svg>\n";
}

} // namespace ziyu::cli
