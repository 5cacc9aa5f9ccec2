#pragma once

#include "model/compiled/package.hpp"

#include <cstdint>
#include <memory>

namespace at {
class Tensor;
}

namespace ziyu::model::compiled {

/// A loaded package. Its constants are mapped from their file, once for all numbers of images, and
/// shared with all processes that map it. Survives `fork`; runs on the caller's thread. Not
/// thread-safe; movable.
class compiled_model {
public:
  /// Loads the code for at most `most_rows` images. This runs code of the package: `probe` it
  /// first. Errors: `model_corrupt`.
  static expected<compiled_model> load(const package& x, uint32_t most_rows);

  compiled_model(compiled_model&&) noexcept;
  compiled_model& operator=(compiled_model&&) noexcept;
  ~compiled_model();

  /// The answer to an input [rows, channels, height, width]. It need not be copied when it is in
  /// channels-last order and in the precision of the package. Throws when there is no code for so
  /// many rows, and what the code throws.
  at::Tensor run(const at::Tensor& input);

private:
  struct state;
  explicit compiled_model(std::unique_ptr<state> x);
  std::unique_ptr<state> state_;
};

} // namespace ziyu::model::compiled
