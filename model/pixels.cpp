#include "model/pixels.hpp"

#include <new>

namespace ziyu::model {

// Not inlined: leaks are named by call stacks, and this frame shows that pixels are kept.
pixel_grid::pixel_grid(uint32_t width, uint32_t height, uint32_t channels) {
  try {
    samples_.create(static_cast<int>(height), static_cast<int>(width),
                    CV_8UC(static_cast<int>(channels)));
  } catch (const cv::Exception& e) {
    if (e.code == cv::Error::StsNoMem)
      throw std::bad_alloc{};
    throw;
  }
}

} // namespace ziyu::model
