#include "model/formats/png_chunks.hpp"

#include <zlib.h>

namespace ziyu::model {

bool png_chunks::chunk::checksum_is_right() const {
  const auto checked = all.substr(4, body.size() + 4); // type and body
  bounded_reader in{all};
  return crc32_z(0, reinterpret_cast<const Bytef*>(checked.data()), checked.size())
         == in.be32(all.size() - 4);
}

} // namespace ziyu::model
