// Gradients that are changed by adding multiples of others, followed through the Gramian alone.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/core/random.hpp"
#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/solver/certificate.hpp"

namespace vierbein::weighting {

/// x = Σ c_t g_t, known by its coefficients c (T) and its products Gc (T) with the gradients.
class combination {
 public:
  /// x = g_i. `precision` is that of G's entries.
  void begin(gram_matrix g, std::size_t i, double precision = solver::double_precision) {
    g_ = g;
    precision_ = precision;
    const auto count = static_cast<std::size_t>(g.rows);
    c_.assign(count, 0.0);
    products_.assign(count, 0.0);
    add(i, 1);
  }

  /// x ← x + amount · g_j.
  void add(std::size_t j, double amount) {
    c_[j] += amount;
    const double* const row = g_.row(static_cast<index_t>(j));
    for (std::size_t t = 0; t < products_.size(); ++t) {
      products_[t] += amount * row[t];
    }
  }

  /// x ← x - (x · g_j / ‖g_j‖²) g_j where x · g_j < 0: PCGrad's projection.
  void remove_conflict(std::size_t j) {
    const double square = g_(static_cast<index_t>(j), static_cast<index_t>(j));
    if (products_[j] < 0 && square > 0) {
      add(j, -products_[j] / square);
    }
  }

  /// x ← x + a g_j such that cos(x, g_j) rises to `aim` where it is below: the gradient vaccine,
  /// a = ‖x‖ (aim √(1 - φ²) - φ √(1 - aim²)) / (‖g_j‖ √(1 - aim²)). Returns φ, the cosine before. A
  /// cosine that is below by no more than 1e-12 stays, and 1e-8 is added to √(1 - aim²). A vector
  /// that is 0 to within rounding has the cosine 0 and stays.
  double vaccinate(std::size_t j, double aim) {
    const auto row = static_cast<index_t>(j);
    const double length = this->length();
    const double other = std::sqrt(std::max(g_(row, row), 0.0));
    if (!(length > 0) || !(other > 0)) {
      return 0;
    }
    const double phi = std::clamp(products_[j] / length / other, -1.0, 1.0);
    if (phi < aim - 1e-12) {
      const double sine = std::sqrt(1 - phi * phi);
      const double aim_sine = std::sqrt(std::max(1 - aim * aim, 0.0));
      add(j, length * (aim * sine - phi * aim_sine) / (other * (aim_sine + 1e-8)));
    }
    return phi;
  }

  [[nodiscard]] std::span<const double> coefficients() const { return c_; }

 private:
  [[nodiscard]] double length() const {
    double square = 0;
    double size = 0;
    for (std::size_t t = 0; t < c_.size(); ++t) {
      square += c_[t] * products_[t];
      const auto row = static_cast<index_t>(t);
      size += std::abs(c_[t]) * std::sqrt(std::max(g_(row, row), 0.0));
    }
    return square > 4 * precision_ * size * size ? std::sqrt(square) : 0;
  }

  gram_matrix g_;
  double precision_ = solver::double_precision;
  std::vector<double> c_, products_;
};

/// A random order of 0 ... n-1 in memory that is kept; Fisher and Yates 1938, as
/// random_permutation.
class random_order {
 public:
  std::span<const std::size_t> draw(std::size_t n, const random_stream& stream) {
    order_.resize(n);
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    for (std::size_t i = n; i-- > 1;) {
      const auto j = static_cast<std::size_t>(stream.uniform(i) * static_cast<double>(i + 1));
      std::swap(order_[i], order_[j]);
    }
    return order_;
  }

 private:
  std::vector<std::size_t> order_;
};

}  // namespace vierbein::weighting
