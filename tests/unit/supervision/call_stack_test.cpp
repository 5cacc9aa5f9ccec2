#include "supervision/call_stack.hpp"

#include <gmock/gmock.h>

namespace ziyu::supervision {
namespace {

code_location at(std::string function, std::string library = "program", std::string file = {}) {
  return {std::move(function), std::move(library), std::move(file), 0};
}

TEST(CallStack, CutsTheAllocatorAndTheLoop) {
  const call_stack x{at("", "libjemalloc.so.2"),
                     at("operator new(unsigned long)", "libstdc++.so.6"),
                     at("std::vector<int>::reserve(unsigned long)"),
                     at("app::cache::put(int)"),
                     at("app::handle()"),
                     at("ziyu::worker::(anonymous namespace)::loop::turn()"),
                     at("on_job", "program", "model/worker/worker_loop.cpp"),
                     at("main")};
  const auto part = relevant_part(x);
  EXPECT_EQ(part.begin, 3u);
  EXPECT_EQ(part.end, 5u);
}

TEST(CallStack, KeepsSomethingOfEveryStack) {
  for (const auto& x : {call_stack{at("malloc")}, call_stack{at("main")},
                        call_stack{at("malloc"), at("main")}, call_stack{at("", "")}}) {
    const auto part = relevant_part(x);
    EXPECT_LT(part.begin, part.end);
    EXPECT_LE(part.end, x.size());
  }
  EXPECT_EQ(relevant_part({}).end, 0u);
}

TEST(CallStack, SeesThroughTheStoragesOfTensorsAndImages) {
  for (auto name :
       {"c10::alloc_cpu(unsigned long)", "at::detail::empty_cpu(int)", "at::_ops::zeros::call(int)",
        "cv::Mat::create(int, int, int)", "cv::fastMalloc(unsigned long)", "posix_memalign",
        "ziyu::model::pixel_grid::pixel_grid(unsigned int, unsigned int, unsigned int)"})
    EXPECT_EQ(role_of(at(name)), frame_role::allocator) << name;
  for (auto name : {"cv::imdecode(int)", "ziyu::model::decode_png(int)", "torch::jit::load(int)",
                    "at::native::convolution(int)", "app::malloc_pool()"})
    EXPECT_EQ(role_of(at(name)), frame_role::code) << name;
}

TEST(CallStack, FoldsFromTheOutermostFrame) {
  const call_stack x{at("malloc"), at("app::leak<a;b>(int)"), at("", "libfoo.so"), at("main")};
  EXPECT_EQ(folded(x), "main;libfoo.so;app::leak;malloc");
  EXPECT_EQ(folded({at("odd;name"), at("", "")}), "?;odd:name");
}

TEST(CallStack, DescribesAFrameInOneLine) {
  EXPECT_EQ(describe(at("void app::f(int)", "libapp.so")), "app::f (libapp.so)");
  EXPECT_EQ(describe(at("", "libapp.so")), "libapp.so");
  EXPECT_EQ(describe(at("", "")), "?");
}

} // namespace
} // namespace ziyu::supervision
