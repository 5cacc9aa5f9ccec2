#pragma once

#include <algorithm>
#include <cctype>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::test {

/// An element of a document, in the order of their start tags.
struct xml_element {
  std::string name;
  std::map<std::string, std::string> attributes; ///< Entities resolved.
  std::string text;                              ///< Directly inside, entities resolved.

  double number(const std::string& attribute) const { return std::stod(attributes.at(attribute)); }
  bool has(const std::string& attribute) const { return attributes.contains(attribute); }
};

/// Reads plain XML (elements, attributes, text, the five entities); throws `std::runtime_error`
/// with the place when it is not well-formed.
class xml_reader {
public:
  explicit xml_reader(std::string_view text) : text_(text) {}

  std::vector<xml_element> read() {
    skip_space();
    while (at_ < text_.size()) {
      if (text_[at_] == '<') {
        tag();
        if (open_.empty())
          skip_space();
        continue;
      }
      if (open_.empty())
        fail("text outside of the root");
      all_[open_.back()].text += character();
    }
    if (!open_.empty())
      fail("<" + all_[open_.back()].name + "> is not closed");
    if (all_.empty())
      fail("no element");
    return std::move(all_);
  }

private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(what + " at byte " + std::to_string(at_) + ": "
                             + std::string{text_.substr(at_, 40)});
  }

  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])))
      ++at_;
  }

  bool take(std::string_view x) {
    if (!text_.substr(at_).starts_with(x))
      return false;
    at_ += x.size();
    return true;
  }

  void need(std::string_view x) {
    if (!take(x))
      fail("expected " + std::string{x});
  }

  std::string name() {
    const auto from = at_;
    while (at_ < text_.size()
           && (std::isalnum(static_cast<unsigned char>(text_[at_]))
               || std::strchr("-_:.", text_[at_]) != nullptr))
      ++at_;
    if (from == at_)
      fail("expected a name");
    return std::string{text_.substr(from, at_ - from)};
  }

  /// One byte of text, or the character of an entity.
  char character() {
    for (const auto& [entity, stands_for] :
         {std::pair{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}})
      if (take(entity))
        return stands_for;
    const auto x = text_[at_];
    if (x == '&' || x == '<' || (static_cast<unsigned char>(x) < 0x20 && !std::isspace(x)))
      fail("a character that must not stand here");
    ++at_;
    return x;
  }

  void tag() {
    if (take("</")) {
      const auto closed = name();
      if (open_.empty() || all_[open_.back()].name != closed)
        fail("</" + closed + "> closes nothing");
      open_.pop_back();
      skip_space();
      need(">");
      return;
    }
    if (!all_.empty() && open_.empty())
      fail("a second root");
    need("<");
    xml_element x;
    x.name = name();
    for (;;) {
      const auto before = at_;
      skip_space();
      const auto ended = take("/>");
      if (ended || take(">")) {
        if (!ended)
          open_.push_back(all_.size());
        all_.push_back(std::move(x));
        return;
      }
      if (before == at_)
        fail("expected a space");
      const auto key = name();
      need("=\"");
      std::string value;
      while (at_ < text_.size() && text_[at_] != '"')
        value += character();
      need("\"");
      if (!x.attributes.emplace(key, value).second)
        fail("attribute " + key + " twice");
    }
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<xml_element> all_;
  std::vector<size_t> open_;
};

inline std::vector<xml_element> read_xml(std::string_view text) { return xml_reader{text}.read(); }

/// The elements of one name.
inline std::vector<xml_element> named(const std::vector<xml_element>& all,
                                      const std::string& name) {
  std::vector<xml_element> result;
  std::copy_if(all.begin(), all.end(), std::back_inserter(result),
               [&](const auto& x) { return x.name == name; });
  return result;
}

/// The first element with exactly this text; throws `std::runtime_error` when there is none.
inline const xml_element& with_text(const std::vector<xml_element>& all, const std::string& text) {
  const auto i = std::find_if(all.begin(), all.end(),
                              [&](const auto& x) { return x.text == text; });
  if (i == all.end())
    throw std::runtime_error("no element with the text " + text);
  return *i;
}

} // namespace ziyu::test
