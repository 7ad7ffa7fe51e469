// A Cholesky factor that grows and shrinks by one row.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace vierbein::weighting::solver {

/// L with L Lᵀ = A for a symmetric positive definite A (k, k) to which rows are appended and from
/// which they are removed. The memory is that of the largest size so far, all of it taken by
/// `clear`.
class cholesky {
 public:
  /// Begins again with nothing, with room for n rows.
  void clear(std::size_t n) {
    if (n > stride_) {
      stride_ = n;
      rows_.resize(n * n);
      column_.resize(n);
    }
    size_ = 0;
  }

  [[nodiscard]] std::size_t size() const { return size_; }

  /// Appends a row: `entry(i)` is A_ki for i < k and `diagonal` is A_kk. Returns the pivot, A_kk
  /// less what the rows before explain of it. When that does not exceed `smallest` the row is not
  /// appended, and `dependence` tells on what it depends.
  template <class Entry>
  double append(Entry&& entry, double diagonal, double smallest) {
    double* const row = &rows_[size_ * stride_];
    double pivot = diagonal;
    for (std::size_t i = 0; i < size_; ++i) {
      const double* const other = &rows_[i * stride_];
      double value = entry(i);
      for (std::size_t c = 0; c < i; ++c) {
        value -= other[c] * row[c];
      }
      row[i] = value / other[i];
      pivot -= row[i] * row[i];
    }
    if (pivot > smallest) {
      row[size_] = std::sqrt(pivot);
      ++size_;
    }
    return pivot;
  }

  /// The coefficients x (k) with A x = (A_k0, A_k1, ...) for the row that `append` refused last.
  void dependence(std::span<double> x) const {
    const double* const row = &rows_[size_ * stride_];
    for (std::size_t i = 0; i < size_; ++i) {
      x[i] = row[i];
    }
    backward(x);
  }

  /// Removes row and column r.
  void remove(std::size_t r) {
    // What stands below (r, r) in the column r goes into the factor that remains, as A does.
    for (std::size_t i = r + 1; i < size_; ++i) {
      column_[i] = rows_[i * stride_ + r];
    }
    for (std::size_t c = r + 1; c < size_; ++c) {
      double* const pivot = &rows_[c * stride_ + c];
      const double length = std::hypot(*pivot, column_[c]);
      const double cosine = *pivot / length;
      const double sine = column_[c] / length;
      *pivot = length;
      for (std::size_t i = c + 1; i < size_; ++i) {
        double& below = rows_[i * stride_ + c];
        const double old = below;
        below = cosine * old + sine * column_[i];
        column_[i] = cosine * column_[i] - sine * old;
      }
    }
    for (std::size_t i = r + 1; i < size_; ++i) {
      const double* const from = &rows_[i * stride_];
      double* const to = &rows_[(i - 1) * stride_];
      for (std::size_t c = 0; c < r; ++c) {
        to[c] = from[c];
      }
      for (std::size_t c = r + 1; c <= i; ++c) {
        to[c - 1] = from[c];
      }
    }
    --size_;
  }

  /// x (k) ← A⁻¹ x.
  void solve(std::span<double> x) const {
    for (std::size_t i = 0; i < size_; ++i) {
      const double* const row = &rows_[i * stride_];
      double value = x[i];
      for (std::size_t c = 0; c < i; ++c) {
        value -= row[c] * x[c];
      }
      x[i] = value / row[i];
    }
    backward(x);
  }

 private:
  // x ← L⁻ᵀ x.
  void backward(std::span<double> x) const {
    for (std::size_t i = size_; i-- > 0;) {
      const double* const row = &rows_[i * stride_];
      x[i] /= row[i];
      for (std::size_t c = 0; c < i; ++c) {
        x[c] -= row[c] * x[i];
      }
    }
  }

  std::size_t stride_ = 0;
  std::size_t size_ = 0;
  std::vector<double> rows_;
  std::vector<double> column_;
};

}  // namespace vierbein::weighting::solver
