#include "model/shared_weights.hpp"

#include "base/descriptor.hpp"

#include <torch/csrc/jit/ir/constants.h>
#include <torch/script.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

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

/// Pages that outlive the descriptor.
struct mapping {
  explicit mapping(size_t size_) : size(size_) {}
  mapping(const mapping&) = delete;
  mapping& operator=(const mapping&) = delete;
  ~mapping() {
    if (memory != MAP_FAILED)
      ::munmap(memory, size);
  }

  size_t size;
  void* memory = MAP_FAILED;
};

tl::unexpected<error> failed(const char* what) {
  return fail(errc::io, std::string{what} + " for the weights: " + std::strerror(errno));
}

expected<std::shared_ptr<mapping>> make_mapping(size_t size) {
  const unique_fd file{::memfd_create("ziyu-weights", MFD_CLOEXEC)};
  if (!file)
    return failed("memfd_create");
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
    return failed("ftruncate");
  // A page that does not fit now would be a SIGBUS later.
  if (const auto code = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size)); code != 0) {
    errno = code;
    return failed("posix_fallocate");
  }
  auto result = std::make_shared<mapping>(size);
  result->memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (result->memory == MAP_FAILED)
    return failed("mmap");
  return result;
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
  auto shared = make_mapping(size);
  if (!shared)
    return tl::unexpected(shared.error());
  auto* to = static_cast<char*>((*shared)->memory);
  for (auto* x : found) {
    std::memcpy(to, x->data(), x->nbytes());
    x->set_data_ptr(at::DataPtr{to, new std::shared_ptr<mapping>{*shared}, release, at::kCPU});
    to += aligned(x->nbytes());
  }
  if (::mprotect((*shared)->memory, size, PROT_READ) != 0)
    return failed("mprotect");
  return size;
}

} // namespace ziyu::model
