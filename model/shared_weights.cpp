#include "model/shared_weights.hpp"

#include "base/mapping.hpp"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/script.h>

#include <cstring>
#include <memory>
#include <set>

namespace ziyu::model {
namespace {

using storage = c10::StorageImpl;

/// For any instruction set, and for the lines of the cache.
constexpr size_t alignment = 64;

size_t aligned(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

void collect(const torch::jit::Block& block, std::set<storage*>& found) {
  for (auto* node : block.nodes()) {
    if (node->kind() == torch::jit::prim::Constant)
      if (const auto value = torch::jit::toIValue(node->output()))
        value->visit([&](const c10::IValue& x) {
          if (x.isTensor() && x.toTensor().has_storage() && x.toTensor().is_cpu())
            found.insert(x.toTensor().storage().unsafeGetStorageImpl());
          return false;
        });
    for (const auto* inner : node->blocks())
      collect(*inner, found);
  }
}

void release(void* owner) { delete static_cast<std::shared_ptr<mapping>*>(owner); }

} // namespace

expected<uint64_t> share_weights(torch::jit::Module& frozen) {
  std::set<storage*> found;
  collect(*frozen.get_method("forward").graph()->block(), found);
  std::erase_if(found, [](const storage* x) { return x->nbytes() == 0; });
  size_t size = 0;
  for (const auto* x : found)
    size += aligned(x->nbytes());
  if (size == 0)
    return 0;
  const auto file = make_memory_file("ziyu-weights", size);
  if (!file)
    return tl::unexpected(file.error());
  auto made = mapping::of(file->get(), size, mapping::access::write);
  if (!made)
    return tl::unexpected(made.error());
  const auto shared = std::make_shared<mapping>(std::move(*made));
  auto* to = shared->data();
  for (const auto* x : found) {
    std::memcpy(to, x->data(), x->nbytes());
    to += aligned(x->nbytes());
  }
  if (auto ok = shared->make_read_only(); !ok)
    return tl::unexpected(ok.error());
  to = shared->data();
  for (auto* x : found) {
    x->set_data_ptr(at::DataPtr{to, new std::shared_ptr<mapping>{shared}, release, at::kCPU});
    to += aligned(x->nbytes());
  }
  return size;
}

} // namespace ziyu::model
