#include "model/worker/faults.hpp"

#include "model/preprocess.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace ziyu::worker {

struct fault_injector::kept {
  std::vector<at::Tensor> tensors;
  std::vector<std::string> encoded;
  std::vector<model::decoded_image> decoded;
  std::vector<model::predictor> models;
  std::vector<void*> blocks;
};

fault_injector::fault_injector() : kept_(std::make_unique<kept>()) {
  // nop
}

fault_injector::~fault_injector() = default;

void fault_injector::inject(const wire::fault_spec& what, model::classifier& by,
                            std::string_view image) {
  using kind = wire::fault_spec::kind;
  switch (what.what) {
  case kind::none: break;
  case kind::retain_tensors:
    // The job's output once more, as the job itself has let go of its own.
    if (auto decoded = model::decode_image(image, by.limits()))
      if (auto logits = by.model().forward(model::preprocess(*decoded, by.model().folder().input)))
        kept_->tensors.push_back(std::move(*logits));
    if (what.bytes > 0)
      kept_->tensors.push_back(at::zeros({static_cast<int64_t>(what.bytes)}, at::kByte));
    break;
  case kind::retain_images:
    kept_->encoded.emplace_back(image);
    if (auto decoded = model::decode_image(image, by.limits()))
      kept_->decoded.push_back(std::move(*decoded));
    break;
  case kind::reload_model:
    if (auto again = model::predictor::load(by.model().folder()))
      kept_->models.push_back(std::move(*again));
    break;
  case kind::native_malloc: {
    auto block = std::malloc(what.bytes);
    if (block != nullptr)
      std::memset(block, 0x5a, what.bytes);
    kept_->blocks.push_back(block);
    break;
  }
  case kind::crash:
    ::signal(SIGSEGV, SIG_DFL);
    ::raise(SIGSEGV);
    break;
  case kind::hang:
    for (;;)
      ::pause();
  case kind::slow: std::this_thread::sleep_for(std::chrono::milliseconds{what.ms}); break;
  }
}

} // namespace ziyu::worker
