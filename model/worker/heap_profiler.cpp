#include "model/worker/heap_profiler.hpp"

#include "base/mapping.hpp"
#include "base/own_process.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string_view>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef ZIYU_HAS_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

namespace ziyu::worker {

#ifdef ZIYU_HAS_JEMALLOC

namespace {

tl::unexpected<error> failed(const char* what, int code) {
  return fail(errc::unavailable, std::string{what} + ": " + std::strerror(code));
}

double processor_us() {
  return std::chrono::duration<double, std::micro>{thread_processor_time()}.count();
}

void set_active(bool on) { mallctl("prof.active", nullptr, nullptr, &on, sizeof on); }

} // namespace

expected<void> heap_profiler::start(uint8_t log2_sample) {
  auto enabled = false;
  size_t size = sizeof enabled;
  if (mallctl("opt.prof", &enabled, &size, nullptr, 0) != 0 || !enabled)
    return fail(errc::unavailable, "jemalloc's profiling is not compiled in or switched off");
  set_active(false);
  size_t log2 = std::clamp<uint8_t>(log2_sample, 9, 30);
  if (auto code = mallctl("prof.reset", nullptr, nullptr, &log2, sizeof log2); code != 0)
    return failed("prof.reset", code);
  budget_.restart();
  jobs_ = sampled_jobs_ = 0;
  started_ = on_ = true;
  return {};
}

void heap_profiler::begin_batch() {
  if (on_) {
    sampling_ = budget_.admit();
    if (sampling_)
      set_active(true);
  }
  begin_us_ = processor_us();
}

void heap_profiler::end_batch(uint64_t jobs) {
  const auto sampled = std::exchange(sampling_, false);
  if (sampled)
    set_active(false);
  random_ ^= random_ << 13, random_ ^= random_ >> 7, random_ ^= random_ << 17;
  budget_.finished(sampled,
                   (processor_us() - begin_us_) / static_cast<double>(std::max<uint64_t>(jobs, 1)),
                   static_cast<double>(random_ >> 11) * 0x1p-53);
  if (on_) {
    jobs_ += jobs;
    sampled_jobs_ += sampled ? jobs : 0;
  }
}

expected<heap_dump> heap_profiler::dump(size_t max_bytes) {
  if (!started_)
    return fail(errc::unavailable, "profiling has not been started");
  // Memory of a file, not of the heap: it does not change the measured memory.
  const unique_fd file{::memfd_create("ziyu-heap", MFD_CLOEXEC)};
  if (!file)
    return failed("memfd_create", errno);
  const auto path = "/proc/self/fd/" + std::to_string(file.get());
  auto name = path.c_str();
  if (auto code = mallctl("prof.dump", nullptr, nullptr, &name, sizeof name); code != 0)
    return failed("prof.dump", code);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || status.st_size == 0)
    return failed("the dump is empty", errno);
  const auto size = static_cast<size_t>(status.st_size);
  const auto content = mapping::of(file.get(), size, mapping::access::read);
  if (!content)
    return fail(errc::unavailable, content.error().message);
  std::string_view text{content->data(), size};
  text = text.substr(0, text.find("\nMAPPED_LIBRARIES:"));
  if (text.size() > max_bytes)
    text = text.substr(0, text.rfind("\n@", max_bytes) + 1);
  return heap_dump{std::string{text}, executable_maps()};
}

void heap_profiler::stop() { on_ = false; }

#else

expected<void> heap_profiler::start(uint8_t) {
  return fail(errc::unavailable, "this worker was built without jemalloc");
}

expected<heap_dump> heap_profiler::dump(size_t) {
  return fail(errc::unavailable, "this worker was built without jemalloc");
}

void heap_profiler::stop() {}
void heap_profiler::begin_batch() {}
void heap_profiler::end_batch(uint64_t) {}

#endif

std::string executable_maps() {
  std::string result;
  std::ifstream in{"/proc/self/maps"};
  for (std::string line; std::getline(in, line);) {
    const auto permissions = line.find(' ');
    if (permissions != std::string::npos && line.size() > permissions + 3
        && line[permissions + 3] == 'x' && line.find('/') != std::string::npos)
      result += line + '\n';
  }
  return result;
}

} // namespace ziyu::worker
