#pragma once

#include "base/error.hpp"

#include <span>
#include <string>
#include <string_view>

namespace ziyu {

/// True if `text` is well-formed UTF-8 (RFC 3629: no surrogates, no overlong
/// forms, at most U+10FFFF).
bool is_utf8(std::string_view text) noexcept;

/// Returns `text` with each ill-formed sequence replaced by U+FFFD, so that it
/// may go into JSON, logs and headers. The identity for well-formed text.
std::string to_utf8(std::string_view text);

/// `text` itself if it has at most `max_bytes` bytes, else its beginning, cut between
/// two characters, and "…": no more than `max_bytes` bytes in all. @pre max_bytes >= 3
std::string shorten(std::string_view text, size_t max_bytes);

/// The columns that `text` takes in a terminal: 2 for East Asian wide characters and emoji, 0 for
/// combining marks and control characters, 1 for those of ambiguous width and for each ill-formed
/// sequence. Code points count one by one, as in most terminals: an emoji that is joined of three
/// takes 6 columns, and a variation selector does not widen the character before it.
size_t display_width(std::string_view text);

/// The beginning of `text` that a reader takes for one character (a grapheme cluster of Unicode
/// Annex 29): a letter with its accents, a flag, a joined emoji; or one ill-formed sequence. Empty
/// only for an empty text.
std::string_view first_character(std::string_view text);

/// Standard base64 with padding (RFC 4648 §4).
std::string base64_encode(std::string_view bytes);

/// Decodes standard or URL-safe base64, with or without padding; white space
/// between characters is skipped. Anything else is `errc::bad_base64`.
expected<std::string> base64_decode(std::string_view text);

/// The SHA-256 of `bytes` in lower-case hexadecimal (FIPS 180-4).
std::string sha256_hex(std::string_view bytes);

/// The SHA-256 of a file's content, read in blocks.
expected<std::string> sha256_file(const std::string& path);

/// The candidate nearest to `word` by edit distance, or an empty string when none is so near that
/// `word` may be a typing error.
std::string closest(std::string_view word, std::span<const std::string> candidates);

} // namespace ziyu
