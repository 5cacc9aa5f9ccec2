#include "cli/demo/picture.hpp"

#include "base/text.hpp"
#include "cli/view/svg.hpp"

#include <cstdlib>
#include <string_view>

namespace ziyu::cli {

namespace {

using svg::number;

constexpr double cell = 8.4, row = 19, margin = 16, title_bar = 34;

/// A text's look, as classes of the style sheet.
struct style {
  int colour = 0; ///< 0: the terminal's own.
  bool bold = false;
  bool operator==(const style&) const = default;

  std::string classes() const { return "c" + std::to_string(colour) + (bold ? " b" : ""); }
};

/// Reads a "\x1b[…m" at `at`; returns its length, 0 when there is none.
size_t apply_escape(std::string_view text, size_t at, style& x) {
  if (!text.substr(at).starts_with("\x1b["))
    return 0;
  const auto end = text.find('m', at);
  if (end == text.npos)
    return 0;
  for (size_t i = at + 2; i < end;) {
    const auto code = std::atoi(std::string{text.substr(i, end - i)}.c_str());
    if (code == 0)
      x = {};
    else if (code == 1)
      x.bold = true;
    else
      x.colour = code;
    const auto next = text.find(';', i);
    i = next == text.npos ? end : std::min(end, next + 1);
  }
  return end - at + 1;
}

/// The part of its cell that a block character fills.
struct block {
  double width, height, opacity;
};

const block* find_block(std::string_view character) {
  static const std::vector<std::pair<std::string_view, block>> blocks{
    {"▁", {1, 1 / 8., 1}}, {"▂", {1, 2 / 8., 1}}, {"▃", {1, 3 / 8., 1}}, {"▄", {1, 4 / 8., 1}},
    {"▅", {1, 5 / 8., 1}}, {"▆", {1, 6 / 8., 1}}, {"▇", {1, 7 / 8., 1}}, {"█", {1, 1, 1}},
    {"▏", {1 / 8., 1, 1}}, {"▎", {2 / 8., 1, 1}}, {"▍", {3 / 8., 1, 1}}, {"▌", {4 / 8., 1, 1}},
    {"▋", {5 / 8., 1, 1}}, {"▊", {6 / 8., 1, 1}}, {"▉", {7 / 8., 1, 1}}, {"░", {1, 1, .22}}};
  for (const auto& [name, x] : blocks)
    if (name == character)
      return &x;
  return nullptr;
}

/// Draws one line, character by character; characters of one look share an element.
class line_drawer {
public:
  line_drawer(size_t index, size_t columns, std::string& out)
    : top_(title_bar + margin + static_cast<double>(index) * row), columns_(columns), out_(out) {}

  void draw(std::string_view text) {
    style now;
    for (size_t i = 0; i < text.size();) {
      if (const auto n = apply_escape(text, i, now)) {
        i += n;
        continue;
      }
      const auto character = first_character(text.substr(i));
      i += character.size();
      const auto width = display_width(character);
      if (at_ + width > columns_)
        break;
      put(character, width, now);
      at_ += width;
    }
    flush();
  }

private:
  void put(std::string_view character, size_t width, const style& how) {
    const auto* shape = find_block(character);
    // A wide character is placed alone: fonts disagree about its width.
    const auto joins = how == how_ && shape == shape_ && width == 1 && last_width_ == 1
                       && character != " "
                       && (shape == nullptr || (shape->width == 1 && !text_.empty()));
    if (!joins)
      flush();
    if (character == " ")
      return;
    if (text_.empty())
      from_ = at_;
    how_ = how;
    shape_ = shape;
    last_width_ = width;
    text_ += character;
    cells_ += width;
  }

  void flush() {
    if (text_.empty())
      return;
    const auto x = margin + static_cast<double>(from_) * cell;
    const auto width = static_cast<double>(cells_) * cell;
    if (shape_ != nullptr) {
      // Full blocks leave a gap between lines, like a terminal's line spacing.
      const auto height = shape_->height * (row - 3);
      out_ += "<rect class=\"" + how_.classes() + "\" x=\"" + number(x) + "\" y=\""
              + number(top_ + 1 + row - 3 - height) + "\" width=\"" + number(width * shape_->width)
              + "\" height=\"" + number(height) + "\""
              + (shape_->opacity < 1 ? " opacity=\"" + number(shape_->opacity) + "\"" : "")
              + "/>\n";
    } else {
      out_ += "<text class=\"" + how_.classes() + "\" x=\"" + number(x) + "\" y=\""
              + number(top_ + 14) + "\" textLength=\"" + number(width) + "\">" + svg::escape(text_)
              + "</text>\n";
    }
    text_.clear();
    cells_ = 0;
    shape_ = nullptr;
    last_width_ = 1;
  }

  double top_;
  size_t columns_;
  std::string& out_;
  size_t at_ = 0, from_ = 0, cells_ = 0, last_width_ = 1;
  style how_;
  const block* shape_ = nullptr;
  std::string text_;
};

} // namespace

std::string terminal_picture(const std::vector<std::string>& lines, size_t columns,
                             const std::string& title) {
  const auto width = 2 * margin + static_cast<double>(columns) * cell;
  const auto height = title_bar + 2 * margin + static_cast<double>(lines.size()) * row;
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + number(width) + " "
                    + number(height) + "\" width=\"" + number(width) + "\" height=\""
                    + number(height) + "\">\n<title>" + svg::escape(title) + "</title>\n";
  out += "<style>\n"
         "text { font-family: 'DejaVu Sans Mono', Menlo, Consolas, 'Noto Sans Mono CJK SC',"
         " 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', monospace; font-size: 14px;"
         " white-space: pre }\n"
         ".b { font-weight: bold } .c0 { fill: #e6edf3 } .c31 { fill: #ff7b72 }"
         " .c32 { fill: #3fb950 } .c33 { fill: #e3b341 } .c34 { fill: #79c0ff }"
         " .c36 { fill: #56d4dd } .c90 { fill: #8b949e }\n"
         "</style>\n";
  out += "<rect width=\"100%\" height=\"100%\" rx=\"10\" fill=\"#0d1117\"/>\n"
         "<rect width=\"100%\" height=\""
         + number(title_bar)
         + "\" rx=\"10\" fill=\"#161b22\"/>\n"
           "<circle cx=\"20\" cy=\"17\" r=\"6\" fill=\"#ff5f57\"/>"
           "<circle cx=\"40\" cy=\"17\" r=\"6\" fill=\"#febc2e\"/>"
           "<circle cx=\"60\" cy=\"17\" r=\"6\" fill=\"#28c840\"/>\n"
           "<text class=\"c90\" x=\""
         + number(width / 2) + "\" y=\"22\" text-anchor=\"middle\">" + svg::escape(title)
         + "</text>\n";
  for (size_t i = 0; i < lines.size(); ++i)
    line_drawer{i, columns, out}.draw(lines[i]);
  return out + "</svg>\n";
}

} // namespace ziyu::cli
