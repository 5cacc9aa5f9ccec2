#include "model/compiled/compiled_model.hpp"

#include <ATen/Tensor.h>
#include <ATen/cpu/Utils.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/inductor/aoti_torch/utils.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <stdexcept>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ziyu::model::compiled {
namespace {

/// A file in memory, read-only: code that writes to its constants dies in the probe.
class mapped_file {
public:
  explicit mapped_file(const std::filesystem::path& path) {
    const auto fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info {};
    if (fd >= 0 && ::fstat(fd, &info) == 0 && info.st_size > 0) {
      size_ = static_cast<size_t>(info.st_size);
      bytes_ = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    }
    const auto why = errno;
    if (fd >= 0)
      ::close(fd);
    if (bytes_ == MAP_FAILED)
      throw std::runtime_error{path.string() + ": "
                               + (info.st_size == 0 ? "no bytes" : std::strerror(why))};
  }
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;
  ~mapped_file() {
    if (bytes_ != MAP_FAILED)
      ::munmap(bytes_, size_);
  }

  /// The interface of libtorch has no constant pointers.
  void* part(uint64_t at, uint64_t bytes) const {
    if (at > size_ || bytes > size_ - at)
      throw std::runtime_error{"a constant lies outside of its file"};
    return static_cast<char*>(bytes_) + at;
  }

private:
  void* bytes_ = MAP_FAILED;
  size_t size_ = 0;
};

at::ScalarType type_of(const std::string& name) {
  static const std::map<std::string, at::ScalarType, std::less<>> types{
    {"float32", at::kFloat}, {"float64", at::kDouble}, {"bfloat16", at::kBFloat16},
    {"float16", at::kHalf},  {"uint8", at::kByte},     {"int8", at::kChar},
    {"int16", at::kShort},   {"int32", at::kInt},      {"int64", at::kLong},
    {"bool", at::kBool}};
  const auto i = types.find(name);
  if (i == types.end())
    throw std::runtime_error{"a constant is of the unknown type " + name};
  return i->second;
}

at::Tensor tensor_of(const constant& x, const mapped_file& file) {
  AtenTensorHandle handle = nullptr;
  const auto done = aoti_torch_create_tensor_from_blob_v2(
    file.part(x.at, x.bytes), static_cast<int64_t>(x.shape.size()), x.shape.data(), x.stride.data(),
    x.offset, static_cast<int32_t>(type_of(x.dtype)), aoti_torch_device_type_cpu(), 0, &handle,
    x.blocked ? aoti_torch_layout__mkldnn() : aoti_torch_layout_strided(),
    reinterpret_cast<const uint8_t*>(x.metadata.data()), static_cast<int64_t>(x.metadata.size()));
  if (done != AOTI_TORCH_SUCCESS)
    throw std::runtime_error{"libtorch does not take the constant " + x.name};
  auto result = *torch::aot_inductor::tensor_handle_to_tensor_pointer(handle);
  aoti_torch_delete_tensor_object(handle);
  return result;
}

using runner = torch::inductor::AOTIModelContainerRunnerCpu;

std::unique_ptr<runner> load_code(const batch_code& x, const mapped_file& file) {
  auto result = std::make_unique<runner>(x.library.string(), 1, /*run_single_threaded=*/true);
  std::unordered_map<std::string, at::Tensor> constants;
  for (const auto& each : x.constants)
    constants.emplace(each.name, tensor_of(each, file));
  result->update_constant_buffer(constants, /*use_inactive=*/false,
                                 /*validate_full_updates=*/true, /*user_managed=*/true);
  return result;
}

} // namespace

struct compiled_model::state {
  explicit state(const package& x)
    : constants(x.constants), input(x.precision == "bf16" ? at::kBFloat16 : at::kFloat) {}

  mapped_file constants; // outlives the code
  at::ScalarType input;
  std::map<int64_t, std::unique_ptr<runner>> code; // by rows
};

compiled_model::compiled_model(std::unique_ptr<state> x) : state_(std::move(x)) {}
compiled_model::compiled_model(compiled_model&&) noexcept = default;
compiled_model& compiled_model::operator=(compiled_model&&) noexcept = default;
compiled_model::~compiled_model() = default;

expected<compiled_model> compiled_model::load(const package& x, uint32_t most_rows) {
  try {
    const c10::InferenceMode guard;
    at::cpu::init_amx(); // the kernel grants it on request, and forked workers inherit it
    auto result = std::make_unique<state>(x);
    for (const auto& each : x.batches)
      if (each.rows <= most_rows)
        result->code[each.rows] = load_code(each, result->constants);
    return compiled_model{std::move(result)};
  } catch (const std::exception& e) {
    const std::string text = e.what();
    return fail(errc::model_corrupt,
                x.path.string() + " cannot be loaded: " + text.substr(0, text.find('\n')));
  }
}

at::Tensor compiled_model::run(const at::Tensor& input) {
  const auto code = state_->code.find(input.size(0));
  if (code == state_->code.end())
    throw std::runtime_error{"there is no code for " + std::to_string(input.size(0)) + " images"};
  const c10::InferenceMode guard;
  auto answers = code->second->run(
    {input.to(input.options().dtype(state_->input), false, false, at::MemoryFormat::ChannelsLast)});
  return answers.size() == 1 ? answers.front() : at::Tensor{};
}

} // namespace ziyu::model::compiled
