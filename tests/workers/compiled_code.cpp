// Code as AOTInductor makes it, by hand: it answers the first two numbers of each row, times the
// constant "scale", and misbehaves as the constant "conduct" says.

#include "support/conduct.hpp"

#include <torch/csrc/inductor/aoti_runtime/interface.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

#include <unistd.h>

namespace {

using namespace ziyu::test;

const char* const names[] = {"scale", "conduct"};

/// Its constants are handles of its own to the caller's tensors.
class container {
public:
  container() = default;
  container(const container&) = delete;
  container& operator=(const container&) = delete;
  ~container() { forget(); }

  void take(const std::unordered_map<std::string, AtenTensorHandle>& given) {
    forget();
    for (size_t i = 0; i < std::size(names); ++i)
      aoti_torch_new_tensor_handle(given.at(names[i]), &constants_[i]);
  }

  float scale() const { return value_of(constants_[0]); }
  conduct how() const { return static_cast<conduct>(static_cast<int>(value_of(constants_[1]))); }

private:
  static float value_of(AtenTensorHandle x) {
    void* data = nullptr;
    aoti_torch_get_data_ptr(x, &data);
    return *static_cast<float*>(data);
  }

  void forget() {
    for (auto& each : constants_)
      if (auto* const handle = std::exchange(each, nullptr))
        aoti_torch_delete_tensor_object(handle);
  }

  AtenTensorHandle constants_[std::size(names)] = {};
};

container& behind(AOTInductorModelContainerHandle x) { return *reinterpret_cast<container*>(x); }

void misbehave(conduct how) {
  switch (how) {
  case well: return;
  case illegal_instruction: __builtin_trap();
  case hangs:
    for (;;)
      ::pause();
  case is_slow:
    for (volatile uint64_t i = 0; i < 30'000'000;)
      i = i + 1;
    return;
  case starts_a_thread: std::thread{[] { ::pause(); }}.detach(); return;
  case ends: ::_exit(7);
  case throws:
  case other_labels: return;
  }
}

} // namespace

extern "C" {

AOTIRuntimeError AOTInductorModelContainerCreateWithDevice(AOTInductorModelContainerHandle* ret,
                                                           size_t, const char*, const char*) {
  *ret = reinterpret_cast<AOTInductorModelContainerHandle>(new container);
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerDelete(AOTInductorModelContainerHandle x) {
  delete &behind(x);
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerGetNumOutputs(AOTInductorModelContainerHandle,
                                                        size_t* ret) {
  *ret = 1;
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerRunSingleThreaded(AOTInductorModelContainerHandle x,
                                                            AtenTensorHandle* inputs, size_t,
                                                            AtenTensorHandle* outputs, size_t,
                                                            AOTInductorStreamHandle,
                                                            AOTIProxyExecutorHandle) {
  const auto how = behind(x).how();
  misbehave(how);
  if (how == throws)
    return AOTI_RUNTIME_FAILURE;
  int64_t rows = 0, numbers = 0;
  aoti_torch_get_size(inputs[0], 0, &rows);
  aoti_torch_get_numel(inputs[0], &numbers);
  const int64_t sizes[] = {rows, 2}, strides[] = {2, 1};
  aoti_torch_empty_strided(2, sizes, strides, aoti_torch_dtype_float32(),
                           aoti_torch_device_type_cpu(), 0, &outputs[0]);
  void *in = nullptr, *out = nullptr;
  aoti_torch_get_data_ptr(inputs[0], &in);
  aoti_torch_get_data_ptr(outputs[0], &out);
  const auto* values = static_cast<const float*>(in);
  const auto swap = how == other_labels && *std::max_element(values, values + numbers) > 0.5F;
  for (int64_t i = 0; i < 2 * rows; ++i)
    static_cast<float*>(out)[i] = values[i / 2 * (numbers / rows) + (swap ? 1 - i % 2 : i % 2)]
                                  * behind(x).scale();
  aoti_torch_delete_tensor_object(inputs[0]);
  inputs[0] = nullptr; // stolen
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerRun(AOTInductorModelContainerHandle x,
                                              AtenTensorHandle* inputs, size_t n,
                                              AtenTensorHandle* outputs, size_t m,
                                              AOTInductorStreamHandle stream,
                                              AOTIProxyExecutorHandle proxy) {
  return AOTInductorModelContainerRunSingleThreaded(x, inputs, n, outputs, m, stream, proxy);
}

AOTIRuntimeError AOTInductorModelContainerGetNumConstants(AOTInductorModelContainerHandle,
                                                          size_t* ret) {
  *ret = 2;
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerGetConstantName(AOTInductorModelContainerHandle, size_t i,
                                                          const char** ret) {
  *ret = names[i];
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerGetConstantOriginalFQN(AOTInductorModelContainerHandle,
                                                                 size_t i, const char** ret) {
  *ret = names[i];
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerGetConstantDtype(AOTInductorModelContainerHandle, size_t,
                                                           int32_t* ret) {
  *ret = aoti_torch_dtype_float32();
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerUpdateUserManagedConstantBuffer(
  AOTInductorModelContainerHandle x, AOTInductorConstantMapHandle map, bool, bool) {
  behind(x).take(*reinterpret_cast<std::unordered_map<std::string, AtenTensorHandle>*>(map));
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerUpdateConstantBuffer(AOTInductorModelContainerHandle,
                                                               AOTInductorConstantMapHandle, bool,
                                                               bool) {
  return AOTI_RUNTIME_FAILURE;
}

AOTIRuntimeError AOTInductorModelContainerUpdateInactiveConstantBuffer(
  AOTInductorModelContainerHandle, AOTInductorConstantMapHandle) {
  return AOTI_RUNTIME_FAILURE;
}

AOTIRuntimeError AOTInductorModelContainerExtractConstantsMap(AOTInductorModelContainerHandle,
                                                              AOTInductorConstantMapHandle, bool) {
  return AOTI_RUNTIME_FAILURE;
}

AOTIRuntimeError AOTInductorModelContainerRunConstantFolding(AOTInductorModelContainerHandle, bool,
                                                             AOTInductorStreamHandle,
                                                             AOTIProxyExecutorHandle) {
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerSwapConstantBuffer(AOTInductorModelContainerHandle) {
  return AOTI_RUNTIME_SUCCESS;
}

AOTIRuntimeError AOTInductorModelContainerGetCallSpec(AOTInductorModelContainerHandle,
                                                      const char** in, const char** out) {
  *in = *out = "";
  return AOTI_RUNTIME_SUCCESS;
}

} // extern "C"
