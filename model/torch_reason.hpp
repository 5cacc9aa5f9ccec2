#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <exception>
#include <string>

namespace ziyu::model {

/// The first line of libtorch's message; the rest is a backtrace.
inline std::string reason(const std::exception& e) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&e);
  std::string text = torch_error ? torch_error->what_without_backtrace() : e.what();
  // The interpreter's errors have the cause at the end, behind a trace of TorchScript.
  if (const auto cause = text.rfind("RuntimeError: "); cause != std::string::npos)
    text.erase(0, cause + 14);
  // Behind these words libtorch guesses at causes, some lines long.
  for (const auto* end : {"\n", " This is an internal miniz error"})
    text.resize(std::min(text.size(), text.find(end)));
  return text;
}

} // namespace ziyu::model
