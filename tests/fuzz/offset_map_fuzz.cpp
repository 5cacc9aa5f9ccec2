// libFuzzer: whatever a commit's metadata is, decoding ends and stays within its bounds. A map that
// it accepts is sound and survives being written again. The first eight bytes of the input are the
// offset.

#include "base/text.hpp"
#include "messaging/offset_map.hpp"
#include "tests/support/offset_map_checks.hpp"

#include <cstdlib>
#include <cstring>

namespace {

void check(std::string_view text, int64_t base) {
  using namespace ziyu::messaging;
  const auto x = decode_offset_map(text, base);
  if (!ziyu::test::is_sound(x, base))
    std::abort();
  if (x.ignored.empty()
      && decode_offset_map(encode_offset_map(x.map, base, 1u << 24), base).map != x.map)
    std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int64_t base = 0;
  if (size < sizeof base)
    return 0;
  std::memcpy(&base, data, sizeof base);
  const std::string_view text{reinterpret_cast<const char*>(data) + sizeof base,
                              size - sizeof base};
  check(text, base);
  check("ziyu1:" + ziyu::base64_encode(text), base & 0x7FFFFFFFFFFFFFFF);
  return 0;
}
