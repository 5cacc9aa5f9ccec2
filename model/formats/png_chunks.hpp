#pragma once

#include "model/bounded_reader.hpp"
#include "model/formats/header.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace ziyu::model {

constexpr uint32_t png_type(const char (&name)[5]) {
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i)
    result = result << 8 | static_cast<uint8_t>(name[i]);
  return result;
}

/// Walks the chunks of a PNG. The bytes must outlive it.
class png_chunks {
public:
  struct chunk {
    uint32_t type = 0;
    bool whole = false;    ///< Complete, with its checksum.
    std::string_view all;  ///< Length, type, body and checksum, as far as present.
    std::string_view body; ///< As far as present.

    /// @pre `whole`.
    bool checksum_is_right() const;
  };

  explicit png_chunks(std::string_view bytes) : bytes_(bytes) {}

  /// Empty at the end of the bytes; a chunk that is cut off is the last one.
  std::optional<chunk> next() {
    bounded_reader in{bytes_};
    const uint64_t length = in.be32(at_);
    chunk result;
    result.type = in.be32(at_ + 4);
    if (!in.good())
      return std::nullopt;
    result.all = bytes_.substr(at_, length + 12);
    result.body = bytes_.substr(at_ + 8, length);
    result.whole = result.all.size() == length + 12;
    at_ = result.whole ? at_ + length + 12 : bytes_.size();
    return result;
  }

private:
  std::string_view bytes_;
  size_t at_ = png_signature.size();
};

} // namespace ziyu::model
