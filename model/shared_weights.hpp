#pragma once

#include "base/error.hpp"

#include <cstdint>

namespace torch::jit {
struct Module;
}

namespace ziyu::model {

/// Moves the constants of a frozen module, which are its weights, into one mapping that processes
/// share and that nobody can write to. So `fork` copies neither their pages nor the entries of
/// page tables, whatever the size of the model, and no process can change another one's weights.
/// The mapping lives as long as one of the tensors.
///
/// @returns The size of the mapping in bytes; 0 if there are no constants.
/// Errors: `io`, e.g., where a sandbox refuses memfd_create(2); the module is then as it was.
/// @pre Nothing else uses the module.
expected<uint64_t> share_weights(torch::jit::Module& frozen);

} // namespace ziyu::model
