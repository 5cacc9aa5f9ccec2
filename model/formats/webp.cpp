#include "model/formats/decode.hpp"
#include "model/formats/header.hpp"
#include "model/formats/webp_header.hpp"

#include <cstring>
#include <memory>

#include <webp/decode.h>
#include <webp/demux.h>

namespace ziyu::model {
namespace {

struct delete_demuxer {
  void operator()(WebPDemuxer* x) const { WebPDemuxDelete(x); }
};

/// The first frame, as a view of the file's bytes.
class first_frame {
public:
  explicit first_frame(WebPDemuxer* of) : found_(WebPDemuxGetFrame(of, 1, &x_) != 0) {}
  first_frame(const first_frame&) = delete;
  first_frame& operator=(const first_frame&) = delete;
  ~first_frame() { WebPDemuxReleaseIterator(&x_); }

  bool found() const { return found_ && x_.complete != 0; }
  const WebPIterator& operator*() const { return x_; }

private:
  WebPIterator x_{};
  bool found_;
};

} // namespace

expected<pixel_grid> decode_webp(std::string_view bytes, const image_size& size) {
  bounded_reader in{bytes};
  if (in.le32(4) > bytes.size() - 8)
    return refuse("is truncated");
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  const std::unique_ptr<WebPDemuxer, delete_demuxer> file{WebPDemux(&data)};
  if (!file)
    return refuse("is damaged: its chunks are not those of a WebP");
  const first_frame frame{file.get()};
  if (!frame.found())
    return refuse("has no picture");
  const auto width = static_cast<uint32_t>((*frame).width),
             height = static_cast<uint32_t>((*frame).height);
  const auto x = static_cast<uint32_t>((*frame).x_offset),
             y = static_cast<uint32_t>((*frame).y_offset);
  const auto announced = read_webp_frame(in);
  if (WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_WIDTH) != size.width
      || WebPDemuxGetI(file.get(), WEBP_FF_CANVAS_HEIGHT) != size.height || announced.width != width
      || announced.height != height || x + width > size.width || y + height > size.height)
    return refuse("has another size than its header says");
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0)
    return refuse("cannot be decoded by this version of libwebp");
  pixel_grid pixels{size.width, size.height, 3};
  // The part of the canvas that the first frame does not cover is transparent black.
  if (width != size.width || height != size.height)
    std::memset(pixels.data(), 0, pixels.size());
  const auto stride = pixels.row_size();
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = pixels.row(y) + size_t{3} * x;
  config.output.u.RGBA.stride = static_cast<int>(stride);
  config.output.u.RGBA.size = stride * (height - 1) + size_t{3} * width;
  const auto status = WebPDecode((*frame).fragment.bytes, (*frame).fragment.size, &config);
  WebPFreeDecBuffer(&config.output);
  if (status == VP8_STATUS_OK)
    return pixels;
  // libwebp 1.5 reports this for damaged alpha as well. An allocation shows whether it is true.
  if (status == VP8_STATUS_OUT_OF_MEMORY)
    need_memory(size.work_bytes);
  // The versions of libwebp report other errors differently.
  return refuse("is damaged or truncated: its data are not those of a picture");
}

} // namespace ziyu::model
