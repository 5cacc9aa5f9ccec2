#include "cli/doctor/images.hpp"

#include "base/check.hpp"
#include "base/file.hpp"
#include "cli/common/job_files.hpp"
#include "supervision/wire/frames.hpp"

#include <zlib.h>

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

void put_chunk(std::string& out, std::string_view type, std::string_view content) {
  put_be32(out, static_cast<uint32_t>(content.size()));
  const auto start = out.size();
  out.append(type).append(content);
  const auto* begin = reinterpret_cast<const Bytef*>(out.data() + start);
  put_be32(out, static_cast<uint32_t>(::crc32_z(0, begin, out.size() - start)));
}

/// `bytes` in zlib's format. Lines of one colour need no effort.
std::string deflated(const std::string& bytes) {
  auto size = ::compressBound(bytes.size());
  std::string result(size, '\0');
  const auto code = ::compress2(reinterpret_cast<Bytef*>(result.data()), &size,
                                reinterpret_cast<const Bytef*>(bytes.data()), bytes.size(),
                                Z_BEST_SPEED);
  require(code == Z_OK, "zlib compresses into as many bytes as it asked for");
  result.resize(size);
  return result;
}

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
  std::string body;
  body.reserve(size_t{height} * (1 + size_t{width} * channels));
  for (uint32_t y = 0; y < height; ++y) {
    body += '\0'; // filter: none
    const auto c = line_colour(y);
    if (kind == pixels::grey)
      body.append(width, static_cast<char>(line_grey(y)));
    else
      for (uint32_t x = 0; x < width; ++x)
        for (const auto part : {c.r, c.g, c.b})
          body += static_cast<char>(part);
  }
  put_chunk(out, "IDAT", deflated(body));
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
