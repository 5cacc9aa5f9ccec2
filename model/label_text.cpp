#include "model/label_text.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include <iconv.h>

namespace ziyu::model {
namespace {

uint8_t byte_at(std::string_view text, size_t index) {
  return index < text.size() ? static_cast<uint8_t>(text[index]) : uint8_t{0};
}

bool within(uint8_t x, int low, int high) { return x >= low && x <= high; }

/// How well a text fits GBK and Big5, counted over its pairs of bytes.
struct pair_counts {
  bool gb18030 = true, big5 = true; ///< Every sequence is well-formed.
  bool four_bytes = false;          ///< Sequences that GBK lacks and GB18030 has.
  double gbk_score = 0, big5_score = 0;
};

/// Common characters lie in the first level of either table: GB 2312's at lead bytes B0–D7
/// with a trail byte from A1 on, Big5's at A4–C6, with trail bytes from 40 on.
pair_counts count_pairs(std::string_view text) {
  pair_counts result;
  for (size_t i = 0; i < text.size();) {
    const auto lead = byte_at(text, i), trail = byte_at(text, i + 1);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    if (within(lead, 0x81, 0xfe) && within(trail, 0x30, 0x39)) {
      result.big5 = false;
      result.four_bytes = true;
      result.gb18030 = result.gb18030 && within(byte_at(text, i + 2), 0x81, 0xfe)
                       && within(byte_at(text, i + 3), 0x30, 0x39);
      i += 4;
      continue;
    }
    const bool high = within(trail, 0xa1, 0xfe), low = within(trail, 0x40, 0x7e);
    result.gb18030 = result.gb18030 && within(lead, 0x81, 0xfe)
                     && (within(trail, 0x40, 0x7e) || within(trail, 0x80, 0xfe));
    result.big5 = result.big5 && within(lead, 0xa1, 0xf9) && (high || low);
    if (high)
      result.gbk_score += within(lead, 0xb0, 0xd7) ? 1 : within(lead, 0xd8, 0xf7) ? 0.3 : 0;
    if (high || low)
      result.big5_score += within(lead, 0xa4, 0xc6) ? 1 : within(lead, 0xc9, 0xf9) ? 0.3 : 0;
    i += 2;
  }
  return result;
}

/// `text` as one word of a shell's command line.
std::string quoted(const std::string& text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
           || std::string_view{"/._-+,:@%"}.find(c) != std::string_view::npos || (c & 0x80) != 0;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain))
    return text;
  std::string result = "'";
  for (const char c : text)
    result += c == '\'' ? std::string{"'\\''"} : std::string(1, c);
  return result + "'";
}

/// `text` in UTF-8; nothing if it is not of `encoding`, or the system has no converter for that.
std::optional<std::string> decoded(std::string_view text, const std::string& encoding) {
  const auto converter = ::iconv_open("UTF-8", encoding.c_str());
  if (converter == reinterpret_cast<iconv_t>(-1))
    return {};
  std::string copy{text}, result;
  auto* in = copy.data();
  auto left = copy.size();
  auto sound = true;
  while (left > 0 && sound) {
    char block[4096];
    auto* out = block;
    auto room = sizeof block;
    sound = ::iconv(converter, &in, &left, &out, &room) != static_cast<size_t>(-1)
            || errno == E2BIG;
    result.append(block, sizeof block - room);
  }
  ::iconv_close(converter);
  return sound ? std::optional{std::move(result)} : std::nullopt;
}

/// The first line of a text in UTF-8 that can show its encoding: one that is not ASCII.
std::string telling_label(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf"))
    text.remove_prefix(3);
  const auto special = std::find_if(text.begin(), text.end(),
                                    [](char c) { return (c & 0x80) != 0; });
  const auto at = special == text.end() ? size_t{0} : static_cast<size_t>(special - text.begin());
  const auto before = at == 0 ? std::string_view::npos : text.rfind('\n', at - 1);
  text.remove_prefix(before == std::string_view::npos ? 0 : before + 1);
  constexpr size_t shown = 60;
  return shorten(text.substr(0, text.find_first_of("\r\n")), shown);
}

/// Words of a Latin script have no four letters in a row that are not ASCII.
bool may_be_latin(std::string_view text) {
  size_t run = 0;
  return std::none_of(text.begin(), text.end(), [&run](char c) {
    run = (c & 0x80) != 0 ? run + 1 : 0;
    return run >= 4;
  });
}

struct reading {
  std::string encoding, label; ///< The label is empty if the system has no converter.
};

/// The encodings that the whole text has sense in, the likely one first.
std::vector<reading> readings_of(std::string_view content, const std::string& likely) {
  std::vector<reading> result;
  const auto add = [&](const std::string& encoding) {
    if (const auto text = decoded(content, encoding))
      result.push_back({encoding, telling_label(*text)});
  };
  add(likely);
  if (result.empty())
    result.push_back({likely, {}});
  if (likely.starts_with("UTF-"))
    return result;
  for (const std::string encoding : {"GBK", "BIG5", "WINDOWS-1252"})
    if (encoding != likely && (encoding != "GBK" || likely != "GB18030")
        && (encoding != "WINDOWS-1252" || may_be_latin(content)))
      add(encoding);
  return result;
}

std::string not_utf8(const std::string& encoding, std::string_view content,
                     const std::filesystem::path& file) {
  const auto from = quoted(file.string()), to = quoted(file.string() + ".utf8");
  std::string names, commands;
  const auto readings = readings_of(content, encoding);
  for (const auto& x : readings) {
    names += (names.empty() ? "" : " or ") + x.encoding
             + (x.label.empty() ? "" : " (\"" + x.label + "\")");
    commands += (commands.empty() ? "" : "; or ") + ("iconv -f " + x.encoding + " -t UTF-8 ") + from
                + " > " + to + " && mv " + to + " " + from;
  }
  return std::string{" is not UTF-8, "}
         + (encoding == "WINDOWS-1252" ? "nor GBK, Big5 or UTF-16; perhaps " : "but likely ")
         + names
         + (readings.size() > 1 ? "; convert the file from the one in which the label makes sense: "
                                : "; convert the file: ")
         + commands;
}

/// The number at the beginning of a line, if something else follows it; −1 for other lines.
int64_t leading_number(std::string_view line) {
  while (line.starts_with(' ') || line.starts_with('"'))
    line.remove_prefix(1);
  int64_t number = -1;
  const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), number);
  if (problem != std::errc{} || number < 0)
    return -1;
  const auto rest = line.substr(static_cast<size_t>(end - line.data()));
  constexpr std::string_view separators = ",;:\t |=\"";
  const auto begin = rest.find_first_not_of(separators);
  return begin == 0 || begin == std::string_view::npos ? -1 : number;
}

} // namespace

std::string likely_encoding(std::string_view content) {
  if (content.starts_with(std::string_view{"\xff\xfe\0\0", 4})
      || content.starts_with(std::string_view{"\0\0\xfe\xff", 4}))
    return "UTF-32";
  if (content.starts_with("\xff\xfe") || content.starts_with("\xfe\xff"))
    return "UTF-16";
  // Without a mark: no other encoding has NUL bytes, and UTF-16 has them at least in line ends.
  size_t even = 0, odd = 0;
  for (size_t i = 0; i < content.size(); ++i)
    if (content[i] == '\0')
      ++(i % 2 == 0 ? even : odd);
  if (even + odd > 0)
    return odd >= even ? "UTF-16LE" : "UTF-16BE";
  if (is_utf8(content))
    return {};
  const auto counts = count_pairs(content);
  if (counts.big5 && (!counts.gb18030 || counts.big5_score > counts.gbk_score))
    return "BIG5";
  if (counts.gb18030)
    return counts.four_bytes ? "GB18030" : "GBK";
  return "WINDOWS-1252";
}

expected<std::vector<std::string>> parse_labels(std::string_view content,
                                                const std::filesystem::path& file) {
  const auto encoding = likely_encoding(content);
  if (encoding.starts_with("UTF-")) // UTF-16's and UTF-32's lines do not end at a byte
    return fail(errc::labels_mismatch, file.string() + not_utf8(encoding, content, file));
  const auto whole = content;
  if (content.starts_with("\xef\xbb\xbf")) // byte order mark, as some editors write
    content.remove_prefix(3);
  std::vector<std::string> result;
  while (!content.empty()) {
    const auto end = content.find('\n');
    auto line = content.substr(0, end);
    content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    const auto place = file.string() + " line " + std::to_string(result.size() + 1);
    if (line.find_first_not_of(" \t") == std::string_view::npos)
      return fail(errc::labels_mismatch,
                  place + " is empty; write one label a line, in the order of the classes");
    if (!is_utf8(line))
      return fail(errc::labels_mismatch, place + not_utf8(encoding, whole, file));
    result.emplace_back(line);
  }
  if (result.empty())
    return fail(errc::labels_mismatch, file.string() + " has no labels");
  return result;
}

std::vector<std::string> label_warnings(std::span<const std::string> labels) {
  std::vector<std::string> result;
  std::unordered_map<std::string_view, size_t> first;
  size_t repeated = 0;
  std::string example;
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto [known, fresh] = first.emplace(labels[i], i);
    if (fresh)
      continue;
    if (++repeated == 1)
      example = "\"" + labels[i] + "\" stands for the classes " + std::to_string(known->second)
                + " and " + std::to_string(i);
  }
  if (repeated > 0)
    result.push_back(
      std::to_string(repeated)
      + (repeated == 1 ? " label is a duplicate: " : " labels are duplicates, e.g., ") + example
      + "; only the index in a result tells them apart");
  for (const int64_t base : {0, 1}) {
    int64_t expected_number = base;
    const auto numbered = [&](const std::string& x) {
      return leading_number(x) == expected_number++;
    };
    if (labels.size() > 1 && std::all_of(labels.begin(), labels.end(), numbered))
      result.push_back("every label begins with its number (\"" + labels.front()
                       + "\"), which results will show; labels.txt holds labels only, in the "
                         "order of the classes");
  }
  return result;
}

} // namespace ziyu::model
