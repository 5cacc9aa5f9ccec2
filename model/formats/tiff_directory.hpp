#pragma once

#include "base/error.hpp"
#include "model/bounded_reader.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ziyu::model {

/// The first directory of a TIFF, classic or big, of either byte order: also of an
/// EXIF block, which is a TIFF without pixels. A view: the bytes must outlive it.
class tiff_directory {
public:
  struct entry {
    uint16_t tag = 0, type = 0;
    uint64_t count = 0;
    uint64_t at = 0; ///< Where the value is in the file.
  };

  /// The directory at the place that the file's header names; empty when the bytes do not begin
  /// like a TIFF. It is not `whole` when the directory or its entries are cut off.
  static std::optional<tiff_directory> read(std::string_view bytes);

  bool big_endian() const { return big_endian_; }
  bool big_tiff() const { return big_tiff_; }
  const std::vector<entry>& entries() const { return entries_; }
  bool whole() const { return whole_; }

  /// The first entry with this tag whose value lies within the file.
  const entry* find(uint16_t tag) const;

  /// True if there is an entry with this tag, wherever its value is.
  bool has(uint16_t tag) const;

  /// A tag that occurs more than once.
  std::optional<uint16_t> twice() const;

  /// The number `index` of an entry, if it is a whole number (SHORT, LONG, LONG8, their signed
  /// types unless negative, IFD; not BYTE, as in Pillow).
  std::optional<uint64_t> number(const entry& x, uint64_t index = 0) const;
  std::optional<uint64_t> number(uint16_t tag) const;

  /// The first value of an entry of any numeric kind (also SBYTE, RATIONAL, FLOAT and their
  /// like, which `number` does not take), if it is a whole number from 0 to 65535.
  std::optional<uint64_t> first_whole(const entry& x) const;

  /// The bytes of an entry's value.
  std::string_view raw(const entry& x) const;

private:
  std::string_view bytes_;
  std::vector<entry> entries_;
  bool big_endian_ = false, big_tiff_ = false, whole_ = true;
};

} // namespace ziyu::model
