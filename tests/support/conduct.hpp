#pragma once

namespace ziyu::test {

/// How the code of a hand-made package behaves (tests/workers/compiled_code.cpp).
enum conduct : int {
  well,
  illegal_instruction,
  hangs,
  is_slow,
  starts_a_thread,
  ends,
  throws,
  other_labels ///< To images; to inputs without a number above 0.5 it answers well.
};

} // namespace ziyu::test
