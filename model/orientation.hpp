#pragma once

#include <cstdint>
#include <string_view>

namespace ziyu::model {

/// The EXIF orientation of an encoded JPEG, PNG or WebP: 1 (upright) to 8; 1 when
/// the image does not say or says nonsense. Safe on any bytes.
uint32_t read_orientation(std::string_view bytes) noexcept;

} // namespace ziyu::model
