#include "model/decoder.hpp"

#include "model/resample.hpp"
#include "support/encoded_jpeg.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <string>

using namespace ziyu;
using namespace ziyu::model;

// A JPEG of which only what the model sees is decoded must give what the whole image gives.

namespace {

struct layout {
  const char* name;
  int components;   ///< 1, 3, or 4
  int across, down; ///< Sampling factors of the first component.
  bool progressive = false, interleaved = true;
  unsigned restart = 0;
  bool ycck = false;
};

constexpr layout layouts[] = {
  {"4:4:4", 3, 1, 1},
  {"4:2:2", 3, 2, 1},
  {"4:2:0", 3, 2, 2},
  {"4:4:0", 3, 1, 2},
  {"4:1:1", 3, 4, 1},
  {"4:1:0", 3, 4, 2},
  {"1x4", 3, 1, 4},
  {"3x1", 3, 3, 1},
  {"grey", 1, 1, 1},
  {"grey with factors", 1, 2, 2},
  {"CMYK", 4, 1, 1},
  {"YCCK 4:2:0", 4, 2, 2, false, true, 0, true},
  {"4:2:0 progressive", 3, 2, 2, true},
  {"4:2:2 progressive", 3, 2, 1, true},
  {"grey progressive", 1, 1, 1, true},
  {"CMYK progressive", 4, 1, 1, true},
  {"4:2:0 in scans", 3, 2, 2, false, false},
  {"4:2:0 with restarts", 3, 2, 2, false, true, 3},
  {"4:2:2 with restarts", 3, 2, 1, false, true, 1},
  {"4:2:0 progressive with restarts", 3, 2, 2, true, true, 2},
};

/// Noise under waves, as a JPEG.
std::string encoded(const layout& how, uint32_t width, uint32_t height) {
  std::mt19937 random{width * 7 + height};
  jpeg_scan_info scans[3] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
  return test::encoded_jpeg(
    width, height, how.components, 85,
    [&](jpeg_compress_struct& info) {
      if (how.ycck)
        jpeg_set_colorspace(&info, JCS_YCCK);
      info.comp_info[0].h_samp_factor = how.across;
      info.comp_info[0].v_samp_factor = how.down;
      for (int i = 1; i < how.components; ++i)
        info.comp_info[i].h_samp_factor = info.comp_info[i].v_samp_factor = 1;
      if (how.ycck) { // black as fine as luma
        info.comp_info[3].h_samp_factor = how.across;
        info.comp_info[3].v_samp_factor = how.down;
      }
      info.restart_interval = how.restart;
      if (!how.interleaved) {
        info.scan_info = scans;
        info.num_scans = 3;
      }
      if (how.progressive)
        jpeg_simple_progression(&info);
    },
    [&](uint32_t y, std::vector<uint8_t>& row) {
      for (size_t i = 0; i < row.size(); ++i)
        row[i] = static_cast<uint8_t>((i * 3 + y * 5) % 190 + random() % 64);
    });
}

/// The JPEG with EXIF that has this orientation.
std::string turned(const std::string& jpeg, uint32_t orientation) {
  std::string exif{"\xff\xe1\0\x22"
                   "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0"
                   "\0\0\0\0",
                   36};
  exif[29] = static_cast<char>(orientation);
  return jpeg.substr(0, 2) + exif + jpeg.substr(2);
}

preprocessing cropped(uint32_t resize, uint32_t width, uint32_t height,
                      preprocessing::interpolation filter) {
  preprocessing how;
  how.resize = resize;
  how.crop_width = width;
  how.crop_height = height;
  how.filter = filter;
  return how;
}

pixel_grid input_of(const decoded_image& image, const preprocessing& how) {
  return resample(image, false, resample_window{place(image.width(), image.height(), how)},
                  how.filter);
}

/// What both ways make of the bytes: the same pixels, or the same error.
void expect_alike(std::string_view bytes, const preprocessing& how, const std::string& what) {
  const auto whole = decode_image(bytes), part = decode_image(bytes, {}, {&how});
  ASSERT_EQ(whole.has_value(), part.has_value())
    << what << ": " << (whole ? part : whole).error().message;
  if (!whole) {
    EXPECT_EQ(whole.error().message, part.error().message) << what;
    return;
  }
  ASSERT_EQ(whole->width(), part->width()) << what;
  ASSERT_EQ(whole->height(), part->height()) << what;
  const auto wanted = input_of(*whole, how), got = input_of(*part, how);
  ASSERT_EQ(wanted.size(), got.size()) << what;
  ASSERT_TRUE(std::equal(wanted.data(), wanted.data() + wanted.size(), got.data())) << what;
}

const preprocessing purposes[] = {
  cropped(96, 64, 64, preprocessing::interpolation::bilinear),
  cropped(40, 32, 24, preprocessing::interpolation::bicubic),
  cropped(0, 50, 20, preprocessing::interpolation::bilinear), // a crop of the pixels as they are
  cropped(300, 8, 8, preprocessing::interpolation::bicubic),  // grows; a few pixels count
};

} // namespace

TEST(Region, GivesWhatTheWholeImageGivesInEachLayout) {
  size_t parts = 0;
  for (const auto& how : layouts)
    for (const auto& [width, height] :
         {std::pair{160u, 120u}, {97u, 203u}, {211u, 67u}, {64u, 64u}, {33u, 17u}, {9u, 130u}}) {
      const auto plain = encoded(how, width, height);
      for (uint32_t orientation = 1; orientation <= 8; ++orientation) {
        const auto bytes = turned(plain, orientation);
        for (const auto& purpose : purposes) {
          expect_alike(bytes, purpose,
                       std::string{how.name} + " of " + std::to_string(width) + "x"
                         + std::to_string(height) + " turned by " + std::to_string(orientation));
          if (HasFatalFailure())
            return;
          const auto image = decode_image(bytes, {}, {&purpose}).value();
          parts += image.orientation == orientation && image.part.has_value();
        }
      }
    }
  EXPECT_GT(parts, 1000u) << "little is decoded in parts";
}

TEST(Region, RefusesADamagedImageExactlyIfTheWholeOneIsRefused) {
  std::mt19937 random{30};
  size_t refused = 0, accepted = 0;
  for (const auto& how : layouts) {
    const auto good = encoded(how, 131, 117);
    for (int round = 0; round < 150; ++round) {
      auto bytes = good.substr(0, round % 2 == 0 ? random() % (good.size() + 1) : good.size());
      for (auto changes = round % 2 + random() % 2; changes > 0 && bytes.size() > 2; --changes)
        bytes[2 + random() % (bytes.size() - 2)] = static_cast<char>(random());
      expect_alike(bytes, purposes[static_cast<size_t>(round) % std::size(purposes)],
                   std::string{how.name} + " in round " + std::to_string(round));
      if (HasFatalFailure())
        return;
      ++(decode_image(bytes) ? accepted : refused);
    }
  }
  EXPECT_GT(refused, 300u);
  EXPECT_GT(accepted, 300u);
}

TEST(Region, RefusesAnImageThatIsCutBelowWhatTheModelSees) {
  const auto purpose = cropped(0, 20, 20, preprocessing::interpolation::bilinear);
  for (const auto& how : layouts) {
    const auto good = encoded(how, 64, 400);
    for (auto size = good.size() * 3 / 4; size < good.size(); size += 23) {
      expect_alike(std::string_view{good}.substr(0, size), purpose,
                   std::string{how.name} + " cut to " + std::to_string(size));
      if (HasFatalFailure())
        return;
    }
  }
}

TEST(Region, OfAReducedImageIsNoSmallerThanWhatItIsResizedTo) {
  const auto purpose = cropped(60, 48, 48, preprocessing::interpolation::bilinear);
  for (const auto& how : layouts)
    for (const auto& [width, height, divisor] : {std::tuple{119u, 300u, 1u},
                                                 {120u, 121u, 2u},
                                                 {239u, 400u, 2u},
                                                 {241u, 240u, 4u},
                                                 {901u, 700u, 4u}})
      for (const uint32_t orientation : {1u, 6u}) {
        const auto bytes = turned(encoded(how, width, height), orientation);
        const auto exact = decode_image(bytes, {}, {&purpose}).value();
        const auto reduced = decode_image(bytes, {}, {&purpose, decoding::reduced}).value();
        EXPECT_EQ(reduced.part ? reduced.part->divisor : 1, divisor) << how.name << width;
        EXPECT_EQ(reduced.width(), exact.width());
        EXPECT_EQ(reduced.height(), exact.height());
        const auto wanted = input_of(exact, purpose), got = input_of(reduced, purpose);
        ASSERT_EQ(wanted.size(), got.size());
        double difference = 0;
        for (size_t i = 0; i < wanted.size(); ++i)
          difference += std::abs(wanted.data()[i] - got.data()[i]);
        EXPECT_LT(difference / static_cast<double>(wanted.size()), divisor == 1 ? 1e-9 : 24)
          << how.name << " " << width << "x" << height;
      }
}
