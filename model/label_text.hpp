#pragma once

#include "base/error.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::model {

/// The labels of a text: one a line, an empty last line and a byte order mark of UTF-8
/// aside. `labels_mismatch` names `file`, the line, and for a text that is not UTF-8 the
/// encoding that it likely has and the command that converts it.
expected<std::vector<std::string>> parse_labels(std::string_view content,
                                                const std::filesystem::path& file);

/// The name, as iconv has it, of the encoding that a text likely has which is not UTF-8:
/// UTF-32, UTF-16, UTF-16LE, UTF-16BE, GBK, GB18030, BIG5 or WINDOWS-1252. Empty for
/// UTF-8 without NUL bytes.
/// Traditional and simplified characters share byte pairs: of a few short labels in GBK or
/// Big5 this is a guess.
std::string likely_encoding(std::string_view content);

/// A sentence for what looks like a mistake: labels that stand for several classes, lines
/// that all begin with their number ("0,cat"). Empty when nothing does.
std::vector<std::string> label_warnings(std::span<const std::string> labels);

} // namespace ziyu::model
