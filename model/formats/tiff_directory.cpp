#include "model/formats/tiff_directory.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace ziyu::model {
namespace {

using namespace std::string_view_literals;

constexpr uint32_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};

uint64_t size_of(uint16_t type) { return type < std::size(sizes) ? sizes[type] : 0; }

} // namespace

std::optional<tiff_directory> tiff_directory::read(std::string_view bytes) {
  // Like Pillow, which knows writers that swap the two bytes of the version.
  const auto start = bytes.substr(0, 4);
  const bool little = start == "II*\0"sv || start == "II\0*"sv || start == "II+\0"sv;
  const bool big = start == "MM\0*"sv || start == "MM*\0"sv || start == "MM\0+"sv;
  if (!little && !big)
    return std::nullopt;
  tiff_directory result;
  result.bytes_ = bytes;
  result.big_endian_ = big;
  result.big_tiff_ = start[2] == '+' || start[3] == '+';
  bounded_reader in{bytes};
  const bool b = result.big_tiff_;
  const uint64_t at = b ? in.number64(8, big) : in.number(4, 4, big);
  const uint64_t count = b ? in.number64(at, big) : in.number(at, 2, big);
  if (!in.good()) {
    result.whole_ = false;
    return result;
  }
  const uint64_t first = at + (b ? 8 : 2), step = b ? 20 : 12;
  const auto fits = (bytes.size() - std::min<uint64_t>(first, bytes.size())) / step;
  result.whole_ = count <= fits;
  // No directory of a picture has more; the bound keeps a hostile one from taking memory.
  constexpr uint64_t most = 4096;
  for (uint64_t i = 0; i < std::min({count, fits, most}); ++i) {
    const auto x = first + step * i;
    entry news;
    news.tag = static_cast<uint16_t>(in.number(x, 2, big));
    news.type = static_cast<uint16_t>(in.number(x + 2, 2, big));
    news.count = b ? in.number64(x + 4, big) : in.number(x + 4, 4, big);
    const auto field = x + (b ? 12 : 8);
    const auto unit = size_of(news.type);
    if (news.count > bytes.size() || unit * news.count > (b ? 8u : 4u))
      news.at = b ? in.number64(field, big) : in.number(field, 4, big);
    else
      news.at = field;
    result.entries_.push_back(news);
  }
  return result;
}

const tiff_directory::entry* tiff_directory::find(uint16_t tag) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const entry& x) { return x.tag == tag && !raw(x).empty(); });
  return found == entries_.end() ? nullptr : &*found;
}

bool tiff_directory::has(uint16_t tag) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const entry& x) { return x.tag == tag; });
}

std::optional<uint16_t> tiff_directory::twice() const {
  std::vector<uint16_t> tags;
  tags.reserve(entries_.size());
  for (const auto& x : entries_)
    tags.push_back(x.tag);
  std::sort(tags.begin(), tags.end());
  const auto found = std::adjacent_find(tags.begin(), tags.end());
  return found == tags.end() ? std::nullopt : std::optional{*found};
}

std::string_view tiff_directory::raw(const entry& x) const {
  const auto unit = size_of(x.type);
  if (unit == 0 || x.count > bytes_.size() || x.at > bytes_.size()
      || unit * x.count > bytes_.size() - x.at)
    return {};
  return bytes_.substr(x.at, unit * x.count);
}

std::optional<uint64_t> tiff_directory::number(const entry& x, uint64_t index) const {
  if (index >= x.count || raw(x).empty())
    return std::nullopt;
  bounded_reader in{bytes_};
  const auto at = x.at + size_of(x.type) * index;
  uint64_t result = 0;
  switch (x.type) {
  case 3:  // SHORT
  case 4:  // LONG
  case 13: // IFD
    result = in.number(at, size_of(x.type), big_endian_);
    break;
  case 8: // SSHORT
  case 9: // SLONG
    result = in.number(at, size_of(x.type), big_endian_);
    if (result >> (size_of(x.type) * 8 - 1) != 0)
      return std::nullopt;
    break;
  case 16: // LONG8
    result = in.number64(at, big_endian_);
    break;
  default: return std::nullopt;
  }
  return in.good() ? std::optional{result} : std::nullopt;
}

std::optional<uint64_t> tiff_directory::first_whole(const entry& x) const {
  if (x.count == 0 || raw(x).empty())
    return std::nullopt;
  bounded_reader in{bytes_};
  const auto word = [&](size_t index) { return in.number(x.at + 4 * index, 4, big_endian_); };
  const auto as_double = [&](uint32_t value) {
    return x.type == 10 ? static_cast<double>(static_cast<int32_t>(value))
                        : static_cast<double>(value);
  };
  double value = 0;
  switch (x.type) {
  case 6: // SBYTE
    value = static_cast<int8_t>(in.u8(x.at));
    break;
  case 5:  // RATIONAL
  case 10: // SRATIONAL
    value = as_double(word(0)) / as_double(word(1));
    break;
  case 11: // FLOAT
    value = std::bit_cast<float>(word(0));
    break;
  case 12: // DOUBLE
    value = std::bit_cast<double>(in.number64(x.at, big_endian_));
    break;
  default: return number(x);
  }
  // False for what is no number: a fraction whose denominator is 0.
  if (!(value >= 0 && value <= 65535) || value != std::floor(value))
    return std::nullopt;
  return static_cast<uint64_t>(value);
}

std::optional<uint64_t> tiff_directory::number(uint16_t tag) const {
  const auto found = find(tag);
  return found == nullptr ? std::nullopt : number(*found);
}

} // namespace ziyu::model
