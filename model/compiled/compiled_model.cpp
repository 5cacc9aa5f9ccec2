#include "model/compiled/compiled_model.hpp"

#include "base/mapping.hpp"
#include "model/torch_reason.hpp"

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
#include <sys/stat.h>

namespace ziyu::model::compiled {
namespace {

/// Read-only: code that writes to its constants dies in the probe.
mapping map_file(const std::filesystem::path& path) {
  const unique_fd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0)
    throw std::runtime_error{path.string() + ": " + std::strerror(errno)};
  if (info.st_size == 0)
    throw std::runtime_error{path.string() + ": no bytes"};
  auto result = mapping::of(file.get(), static_cast<size_t>(info.st_size), mapping::access::read);
  if (!result)
    throw std::runtime_error{path.string() + ": " + result.error().message};
  return std::move(*result);
}

/// The interface of libtorch has no constant pointers.
void* part_of(const mapping& file, const constant& x) {
  if (x.at > file.size() || x.bytes > file.size() - x.at)
    throw std::runtime_error{"a constant lies outside of its file"};
  return file.data() + x.at;
}

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

at::Tensor tensor_of(const constant& x, const mapping& file) {
  AtenTensorHandle handle = nullptr;
  const auto done = aoti_torch_create_tensor_from_blob_v2(
    part_of(file, x), static_cast<int64_t>(x.shape.size()), x.shape.data(), x.stride.data(),
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

std::unique_ptr<runner> load_code(const batch_code& x, const mapping& file) {
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
    : constants(map_file(x.constants)), input(x.precision == "bf16" ? at::kBFloat16 : at::kFloat) {}

  mapping constants; // outlives the code
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
    return fail(errc::model_corrupt, x.path.string() + " cannot be loaded: " + reason(e));
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
