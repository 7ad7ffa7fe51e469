// A host matrix that owns its elements: features, labels and predictions travel in it.
#pragma once

#include <span>

#include "vierbein/core/arena.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/view.hpp"

namespace vierbein {

/// A row-major host matrix (rows, cols) that owns its elements. Throws for sizes below 0.
template <class T>
class matrix {
 public:
  matrix() = default;
  matrix(index_t rows, index_t cols, T value = T{})
      : rows_(rows), cols_(cols), elements_(count(rows, cols), value) {}

  [[nodiscard]] index_t rows() const { return rows_; }
  [[nodiscard]] index_t cols() const { return cols_; }
  [[nodiscard]] index_t size() const { return rows_ * cols_; }
  [[nodiscard]] bool empty() const { return elements_.empty(); }
  [[nodiscard]] T* data() { return elements_.data(); }
  [[nodiscard]] const T* data() const { return elements_.data(); }

  T& operator()(index_t r, index_t c) { return elements_[static_cast<std::size_t>(r * cols_ + c)]; }
  const T& operator()(index_t r, index_t c) const {
    return elements_[static_cast<std::size_t>(r * cols_ + c)];
  }
  [[nodiscard]] std::span<T> row(index_t r) {
    return {data() + r * cols_, static_cast<std::size_t>(cols_)};
  }
  [[nodiscard]] std::span<const T> row(index_t r) const {
    return {data() + r * cols_, static_cast<std::size_t>(cols_)};
  }

  [[nodiscard]] matrix_view<T> view() { return {data(), rows_, cols_}; }
  [[nodiscard]] matrix_view<const T> view() const { return {data(), rows_, cols_}; }

  /// Changes the shape; the elements are unspecified afterwards. Keeps its memory when it shrinks.
  void resize(index_t rows, index_t cols) {
    elements_.resize(count(rows, cols));
    rows_ = rows;
    cols_ = cols;
  }

  bool operator==(const matrix&) const = default;

 private:
  static std::size_t count(index_t rows, index_t cols) {
    require(rows >= 0 && cols >= 0, "matrix", "expected sizes of at least 0, found {} x {}", rows,
            cols);
    return static_cast<std::size_t>(rows * cols);
  }

  index_t rows_ = 0;
  index_t cols_ = 0;
  aligned_vector<T> elements_;
};

}  // namespace vierbein
