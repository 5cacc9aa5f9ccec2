#include "actors/decoder.hpp"

#include "model/image_header.hpp"

namespace ziyu::actors {

decoded_job decode(const messaging::record& source, const messaging::job_limits& limits) {
  decoded_job result;
  auto job = messaging::decode_job(source, limits);
  if (!job) {
    result.reason = std::move(job.error());
    return result;
  }
  const auto size = model::read_image_size(*job->image);
  const auto pixels = size ? uint64_t{size->width} * size->height : 0;
  if (pixels > limits.max_pixels) {
    result.reason = error{errc::image_too_large,
                          "the image's header announces " + std::to_string(pixels)
                            + " pixels, jobs.max_pixels is " + std::to_string(limits.max_pixels)};
    return result;
  }
  result.pixels_bytes = pixels * 3;
  result.image_bytes = job->image == source.value ? 0 : job->image->size();
  result.job = std::make_shared<const messaging::job>(std::move(*job));
  return result;
}

decoder_actor::behavior_type decoder(decoder_actor::pointer, messaging::job_limits limits) {
  return {
    [limits = std::move(limits)](const decode_request& x) { return decode(*x.source, limits); },
  };
}

} // namespace ziyu::actors
