#pragma once

#include "base/descriptor.hpp"
#include "base/error.hpp"

#include <cstddef>

namespace ziyu {

/// A new file of `size` bytes, zeros, in memory (memfd_create(2)): a descriptor is all that there
/// is of it. Its pages are there, so that using one of them is no SIGBUS later. Errors: `io`, e.g.,
/// where a sandbox refuses it.
expected<unique_fd> make_memory_file(const char* name, size_t size);

/// Pages of a file (mmap(2)) as long as this lives; the descriptor may be closed. Move-only.
class mapping {
public:
  enum class access { read, write };

  /// The first `size` bytes, which processes share. @pre size > 0. Errors: `io`.
  static expected<mapping> of(int fd, size_t size, access how);

  mapping(mapping&& other) noexcept;
  mapping& operator=(mapping&&) = delete;
  ~mapping();

  char* data() const { return static_cast<char*>(memory_); }
  size_t size() const { return size_; }

  /// From now on nobody can write through it. Errors: `io`.
  expected<void> make_read_only();

private:
  mapping(void* memory, size_t size) : memory_(memory), size_(size) {}

  void* memory_;
  size_t size_;
};

} // namespace ziyu
