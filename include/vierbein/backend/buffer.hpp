// Memory of a backend that is owned: parameters, gradients, optimiser state.
#pragma once

#include <utility>

#include "vierbein/backend/concept.hpp"
#include "vierbein/core/parameters.hpp"

namespace vierbein::backend {

/// A flat vector in a backend's memory, 64-byte aligned; elements are 0 at first.
template <Backend B>
class buffer {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  buffer() = default;
  buffer(const B& backend, index_t size)
      : size_(size),
        data_(size > 0 ? static_cast<scalar*>(
                             B::memory::allocate(static_cast<std::size_t>(size) * sizeof(scalar)))
                       : nullptr) {
    if (size > 0) {
      backend.fill(matrix_view<scalar, space>(data_, 1, size), scalar{0});
    }
  }
  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;
  buffer(buffer&& other) noexcept { swap(other); }
  buffer& operator=(buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~buffer() {
    if (data_ != nullptr) {
      B::memory::deallocate(data_);
    }
  }

  [[nodiscard]] array_view<scalar, space> view() const { return {data_, size_}; }
  /// The same as one row.
  [[nodiscard]] matrix_view<scalar, space> row() const { return {data_, 1, size_}; }

  /// From and to host memory.
  void assign(const B& backend, array_view<const scalar> host) {
    backend.upload(matrix_view<const scalar>(host.data, 1, host.size), row());
  }
  void copy_to(const B& backend, array_view<scalar> host) const {
    backend.download(matrix_view<const scalar, space>(row()),
                     matrix_view<scalar>(host.data, 1, host.size));
  }

 private:
  void swap(buffer& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
  }

  index_t size_ = 0;
  scalar* data_ = nullptr;
};

}  // namespace vierbein::backend
