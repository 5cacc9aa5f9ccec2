#include "cli/doctor_images.hpp"

#include "base/file.hpp"
#include "cli/job_files.hpp"
#include "wire/frames.hpp"

#include <array>
#include <sstream>

namespace ziyu::cli {

namespace {

struct colour_of_line {
  uint8_t r, g, b;
};

/// The picture: each line has its own colour.
colour_of_line line_colour(uint32_t y) {
  return {static_cast<uint8_t>(y * 3), static_cast<uint8_t>(255 - y), static_cast<uint8_t>(y >> 3)};
}

uint8_t line_grey(uint32_t y) { return static_cast<uint8_t>(y * 5); }

void put_be32(std::string& out, uint32_t x) {
  for (auto shift = 24; shift >= 0; shift -= 8)
    out += static_cast<char>(x >> shift);
}

void put_le(std::string& out, uint32_t x, int bytes) {
  for (auto i = 0; i < bytes; ++i)
    out += static_cast<char>(x >> (8 * i));
}

uint32_t crc32(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> result{};
    for (uint32_t i = 0; i < 256; ++i) {
      auto x = i;
      for (auto k = 0; k < 8; ++k)
        x = (x & 1) != 0 ? 0xedb88320 ^ (x >> 1) : x >> 1;
      result[i] = x;
    }
    return result;
  }();
  auto x = ~uint32_t{0};
  for (const auto c : bytes)
    x = table[(x ^ static_cast<uint8_t>(c)) & 0xff] ^ (x >> 8);
  return ~x;
}

void put_chunk(std::string& out, std::string_view type, std::string_view content) {
  put_be32(out, static_cast<uint32_t>(content.size()));
  const auto start = out.size();
  out.append(type).append(content);
  put_be32(out, crc32(std::string_view{out}.substr(start)));
}

/// zlib's format (RFC 1950, 1951) with the fixed code. Repetitions always have the greatest
/// length.
class deflater {
public:
  deflater() : out_("\x78\x01") { bits(0b011, 3); } // one final block, fixed codes

  void literal(uint8_t x) {
    check(x);
    if (x < 144)
      code(0x30u + x, 8);
    else
      code(0x190u + x - 144u, 9);
  }

  static constexpr uint32_t repetition = 258;

  /// The latest `distance` bytes (1 or 3; they are at `pixel`) repeated, 258 bytes in
  /// all.
  void repeat(const uint8_t* pixel, uint32_t distance) {
    for (uint32_t i = 0; i < repetition; ++i)
      check(pixel[i % distance]);
    code(0b11000101, 8);
    code(distance - 1, 5);
  }

  std::string finish() {
    code(0, 7);
    if (filled_ > 0)
      bits(0, 8 - filled_);
    put_be32(out_, b_ << 16 | a_);
    return std::move(out_);
  }

private:
  void bits(uint32_t x, int count) {
    for (auto i = 0; i < count; ++i) {
      byte_ |= static_cast<uint8_t>((x >> i & 1) << filled_);
      if (++filled_ == 8) {
        out_ += static_cast<char>(byte_);
        byte_ = 0;
        filled_ = 0;
      }
    }
  }

  /// Huffman codes begin with their highest bit.
  void code(uint32_t x, int count) {
    for (auto i = count - 1; i >= 0; --i)
      bits(x >> i & 1, 1);
  }

  /// Adler-32.
  void check(uint8_t x) {
    a_ = (a_ + x) % 65521;
    b_ = (b_ + a_) % 65521;
  }

  std::string out_;
  uint8_t byte_ = 0;
  int filled_ = 0;
  uint32_t a_ = 1, b_ = 0;
};

std::string size_name(uint32_t width, uint32_t height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

} // namespace

std::string make_png(uint32_t width, uint32_t height, pixels kind) {
  const uint32_t channels = kind == pixels::rgb ? 3 : 1;
  std::string out{"\x89PNG\r\n\x1a\n"}, head;
  put_be32(head, width);
  put_be32(head, height);
  head += '\x08';
  head += kind == pixels::rgb ? '\x02' : '\x00';
  head.append(3, '\0'); // deflate, adaptive filters, not interlaced
  put_chunk(out, "IHDR", head);
  deflater body;
  for (uint32_t y = 0; y < height; ++y) {
    const auto c = line_colour(y);
    const std::array<uint8_t, 3> pixel{kind == pixels::rgb ? c.r : line_grey(y), c.g, c.b};
    body.literal(0); // filter: none
    auto left = width * channels;
    auto literals = [&](uint32_t count) {
      for (uint32_t i = 0; i < count; ++i)
        body.literal(pixel[i % channels]);
      left -= count;
    };
    literals(channels);
    while (left >= deflater::repetition) { // a multiple of both numbers of channels
      body.repeat(pixel.data(), channels);
      left -= deflater::repetition;
    }
    literals(left);
  }
  put_chunk(out, "IDAT", body.finish());
  put_chunk(out, "IEND", {});
  return out;
}

std::string make_bmp(uint32_t width, uint32_t height, pixels kind) {
  const auto is_rgb = kind == pixels::rgb;
  const uint32_t line = (width * (is_rgb ? 3 : 1) + 3) / 4 * 4;
  const uint32_t palette = is_rgb ? 0 : 256 * 4, start = 14 + 40 + palette;
  std::string out{"BM"};
  put_le(out, start + line * height, 4);
  put_le(out, 0, 4);
  put_le(out, start, 4);
  put_le(out, 40, 4);
  put_le(out, width, 4);
  put_le(out, height, 4);
  put_le(out, 1, 2);
  put_le(out, is_rgb ? 24 : 8, 2);
  put_le(out, 0, 4); // not compressed
  put_le(out, line * height, 4);
  put_le(out, 2835, 4); // 72 dpi
  put_le(out, 2835, 4);
  put_le(out, is_rgb ? 0 : 256, 4);
  put_le(out, 0, 4);
  for (uint32_t i = 0; i < palette / 4; ++i)
    put_le(out, i * 0x010101, 4);
  for (auto y = height; y-- > 0;) { // the lowest line first
    const auto begin = out.size();
    const auto c = line_colour(y);
    for (uint32_t x = 0; x < width; ++x)
      if (is_rgb)
        for (const auto part : {c.b, c.g, c.r})
          out += static_cast<char>(part);
      else
        out += static_cast<char>(line_grey(y));
    out.append(line - (out.size() - begin), '\0');
  }
  return out;
}

expected<std::string> doctor_image::read() const {
  if (path.empty())
    return bytes;
  return read_file(path, wire::max_body_size - 4096);
}

std::vector<doctor_image> synthetic_images() {
  std::vector<doctor_image> result;
  auto png = [&](uint32_t width, uint32_t height, pixels kind) {
    result.push_back({size_name(width, height) + (kind == pixels::rgb ? " png" : " grey png"),
                      {},
                      make_png(width, height, kind)});
  };
  auto bmp = [&](uint32_t width, uint32_t height, pixels kind) {
    result.push_back({size_name(width, height) + (kind == pixels::rgb ? " bmp" : " grey bmp"),
                      {},
                      make_bmp(width, height, kind)});
  };
  png(1, 1, pixels::rgb);
  png(28, 28, pixels::grey);
  bmp(97, 61, pixels::rgb); // lines that are padded
  bmp(224, 224, pixels::grey);
  png(640, 480, pixels::rgb);
  bmp(800, 600, pixels::rgb);
  png(1280, 720, pixels::grey);
  png(1080, 1920, pixels::rgb);
  png(4000, 3000, pixels::rgb);
  return result;
}

expected<std::vector<doctor_image>> images_of(const std::filesystem::path& folder) {
  std::istringstream none;
  auto files = find_job_files({folder.string()}, none);
  if (!files)
    return tl::unexpected(files.error());
  std::vector<doctor_image> result;
  for (auto& x : *files)
    result.push_back({std::move(x.name), std::move(x.path), {}});
  return result;
}

} // namespace ziyu::cli
