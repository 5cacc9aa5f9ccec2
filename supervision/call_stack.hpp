#pragma once

#include "supervision/symbolizer.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ziyu::supervision {

/// Named locations, the innermost first.
using call_stack = std::vector<code_location>;

/// The role of a frame in the search for a leak.
enum class frame_role : uint8_t {
  allocator, ///< malloc, operator new, a container growing, a tensor's storage.
  code,      ///< Code that may be responsible.
  loop,      ///< main(), the worker's loop, a thread's start: at the bottom of every stack.
};

/// By the tables in call_stack.cpp.
frame_role role_of(const code_location& x);

/// The part of a stack to show first, as indices [begin, end): without the allocator's
/// frames at its top and the loop's frames at its bottom. Empty only for an empty
/// stack.
struct stack_range {
  size_t begin = 0, end = 0;
};
stack_range relevant_part(const call_stack& x);

/// "cv::Mat::create (libopencv_core.so.406)", or "libfoo.so", or "?".
std::string describe(const code_location& x);

/// One line of Brendan Gregg's folded format without the count: the outermost frame
/// first, joined by ';', names short and free of ';' and line breaks.
std::string folded(const call_stack& x);

} // namespace ziyu::supervision
