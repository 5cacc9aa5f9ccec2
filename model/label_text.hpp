#pragma once

#include "base/error.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::model {

/// The labels of a text: one a line, without an empty last line and a byte order mark of UTF-8.
/// `labels_mismatch` names `file`, the line, and, for a text that is not UTF-8, the encodings that
/// it may have, the likely one first, each with a label as it then reads and the command that
/// converts.
expected<std::vector<std::string>> parse_labels(std::string_view content,
                                                const std::filesystem::path& file);

/// The likely encoding of a text that is not UTF-8, as iconv names it:
/// UTF-32, UTF-16, UTF-16LE, UTF-16BE, GBK, GB18030, BIG5 or WINDOWS-1252.
/// Empty for UTF-8 without NUL bytes. Traditional and simplified characters
/// share byte pairs: for a few short labels in GBK or Big5 the answer is a
/// guess.
std::string likely_encoding(std::string_view content);

/// A sentence for each likely mistake: labels that stand for several classes, lines that all begin
/// with their number ("0,cat"). Empty without one.
std::vector<std::string> label_warnings(std::span<const std::string> labels);

} // namespace ziyu::model
