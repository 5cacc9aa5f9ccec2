#pragma once

#include "judge_traces.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ziyu::bench {

/// A rule by which other systems decide that a worker must be replaced.
class rule {
public:
  virtual ~rule() = default;
  /// Takes the state after one more job; true: replace the worker.
  virtual bool observe(const reading& x) = 0;
};

struct named_rule {
  std::string name, what;
  std::function<std::unique_ptr<rule>(const trace&)> make;
};

/// The rules of other systems. Each has the settings that its documentation recommends, or else
/// settings that suit these workers best. `budget` is the private memory that a worker may have, as
/// for the judge.
std::vector<named_rule> peers(uint64_t budget);

} // namespace ziyu::bench
