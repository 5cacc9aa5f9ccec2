#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// Reads integers at any position of a view; a read past the end makes `good`
/// false and yields 0, so that a parser needs one check at its end.
class bounded_reader {
public:
  explicit bounded_reader(std::string_view bytes) : bytes_(bytes) {}

  uint32_t u8(size_t at) { return number(at, 1, true); }
  uint32_t be16(size_t at) { return number(at, 2, true); }
  uint32_t be32(size_t at) { return number(at, 4, true); }
  uint32_t le16(size_t at) { return number(at, 2, false); }
  uint32_t le24(size_t at) { return number(at, 3, false); }
  uint32_t le32(size_t at) { return number(at, 4, false); }

  uint64_t number64(size_t at, bool big_endian) {
    const uint64_t first = number(at, 4, big_endian), second = number(at + 4, 4, big_endian);
    return big_endian ? first << 32 | second : second << 32 | first;
  }

  /// Position of the next `byte` at `from` or behind it; `size()` if there is none.
  size_t find(char byte, size_t from) const {
    return std::min(bytes_.find(byte, from), bytes_.size());
  }

  bool good() const { return good_; }
  size_t size() const { return bytes_.size(); }

  uint32_t number(size_t at, size_t count, bool big_endian) {
    if (at > bytes_.size() || count > bytes_.size() - at) {
      good_ = false;
      return 0;
    }
    uint32_t result = 0;
    for (size_t i = 0; i < count; ++i) {
      const auto byte = static_cast<uint8_t>(bytes_[at + (big_endian ? i : count - 1 - i)]);
      result = result << 8 | byte;
    }
    return result;
  }

private:
  std::string_view bytes_;
  bool good_ = true;
};

} // namespace ziyu::model
