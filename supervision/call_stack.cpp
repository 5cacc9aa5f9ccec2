#include "supervision/call_stack.hpp"

#include <algorithm>

namespace ziyu::supervision {

namespace {

bool starts_with_any(std::string_view text, const auto& prefixes) {
  return std::any_of(std::begin(prefixes), std::end(prefixes),
                     [&](std::string_view x) { return text.starts_with(x); });
}

bool equals_any(std::string_view text, const auto& names) {
  return std::find(std::begin(names), std::end(names), text) != std::end(names);
}

// Short names of functions that only fetch memory for their callers.
constexpr std::string_view allocator_names[] = {
  "malloc",
  "calloc",
  "realloc",
  "posix_memalign",
  "aligned_alloc",
  "memalign",
  "mallocx",
  "strdup",
  "__strdup",
  "operator new",
  "operator new[]",
  "cv::fastMalloc",
  "cv::StdMatAllocator::allocate",
  "cv::Mat::create",
  "cv::Mat::Mat",
  "cv::Mat::operator=",
  "ziyu::model::pixel_grid::pixel_grid",
};
constexpr std::string_view allocator_prefixes[] = {
  "je_",
  "imalloc",
  "prof_backtrace",
  "prof_alloc",
  "prof_tctx",
  "fallback_impl",
  // Containers and smart pointers of the standard library.
  "std::",
  "__gnu_cxx::",
  // The functions between a tensor's factory and its bytes.
  "c10::",
  "at::_ops::",
  "at::detail::",
  "at::(anonymous namespace)::",
  "at::native::empty",
  "at::native::zeros",
  "at::TensorIteratorBase::",
  "at::native::full",
  "at::native::ones",
  "at::empty",
  "at::zeros",
  "at::full",
  "at::ones",
};
constexpr std::string_view allocator_libraries[] = {"libjemalloc", "libstdc++"};

constexpr std::string_view loop_names[] = {
  "main",
  "_start",
  "__libc_start_main",
  "__libc_start_call_main",
  "start_thread",
  "clone",
  "clone3",
  "__clone3",
  "execute_native_thread_routine",
  "ziyu::worker::run_worker",
  "ziyu::worker::run_fork_server",
  "ziyu::worker::(anonymous namespace)::begin_thread",
};
constexpr std::string_view loop_prefixes[] = {
  "__libc_start",
  "ziyu::worker::(anonymous namespace)::loop::",
  "ziyu::worker::(anonymous namespace)::fork_server::",
  "std::thread::_",
  "std::__invoke",
  "std::invoke",
};

// Functions of these files that were inlined may have no qualified name.
constexpr std::string_view loop_files[] = {
  "model/worker/worker_loop.cpp",
  "model/worker/fork_server.cpp",
  "model/worker/main.cpp",
};

} // namespace

frame_role role_of(const code_location& x) {
  const auto name = short_name(x.function);
  if (equals_any(name, loop_names) || starts_with_any(name, loop_prefixes)
      || std::any_of(std::begin(loop_files), std::end(loop_files),
                     [&](std::string_view file) { return x.file.ends_with(file); }))
    return frame_role::loop;
  if (equals_any(name, allocator_names) || starts_with_any(name, allocator_prefixes)
      || starts_with_any(x.library, allocator_libraries))
    return frame_role::allocator;
  return frame_role::code;
}

stack_range relevant_part(const call_stack& x) {
  stack_range part{0, x.size()};
  while (part.end > 0 && role_of(x[part.end - 1]) == frame_role::loop)
    --part.end;
  if (part.end == 0)
    return {0, x.size()};
  while (part.begin < part.end && role_of(x[part.begin]) == frame_role::allocator)
    ++part.begin;
  // All frames fetch memory: the outermost of them says most.
  if (part.begin == part.end)
    --part.begin;
  return part;
}

std::string describe(const code_location& x) {
  if (x.function.empty())
    return x.library.empty() ? "?" : x.library;
  return short_name(x.function) + (x.library.empty() ? "" : " (" + x.library + ")");
}

std::string folded(const call_stack& x) {
  std::string result;
  for (auto frame = x.rbegin(); frame != x.rend(); ++frame) {
    auto name = frame->function.empty() ? describe(*frame) : short_name(frame->function);
    std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ';' || c == '\n' || c == '\r'; }, ':');
    result += (result.empty() ? "" : ";") + name;
  }
  return result;
}

} // namespace ziyu::supervision
