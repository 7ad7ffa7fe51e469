// Eigenvalues and eigenvectors of a Gramian, and its pseudo-inverse.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/solver/certificate.hpp"
#include "vierbein/weighting/solver/cholesky.hpp"

namespace vierbein::weighting::solver {

/// A = Σ_k λ_k q_k q_kᵀ for a symmetric A (n, n), λ_0 ≤ λ_1 ≤ ...: Householder's reduction to a
/// tridiagonal matrix and implicit QR steps with Wilkinson's shift (Golub and Van Loan 2013, 8.3).
/// Errors are of the order of the machine's precision times the largest |λ|. O(n³).
class symmetric_eigen {
 public:
  /// Makes room for matrices up to (n, n).
  void reserve(index_t n) {
    a_.resize(n, n);
    q_.resize(n, n);
    for (auto* v : {&values_, &off_, &v_, &p_}) {
      v->resize(static_cast<std::size_t>(n));
    }
  }

  void assign(gram_matrix a) {
    const index_t n = a.rows;
    reserve(n);
    largest_ = 0;
    for (index_t i = 0; i < n; ++i) {
      for (index_t j = 0; j < n; ++j) {
        largest_ = std::max(largest_, std::abs(a(i, j)));
      }
    }
    // In units of the largest element, lest squares leave the range of numbers.
    const double unit = largest_ > 0 ? largest_ : 1;
    for (index_t i = 0; i < n; ++i) {
      for (index_t j = 0; j < n; ++j) {
        a_(i, j) = a(i, j) / unit;
        q_(i, j) = i == j ? 1 : 0;
      }
    }
    tridiagonalise();
    diagonalise();
    for (double& value : values_) {
      value *= unit;
    }
    sort();
  }

  [[nodiscard]] std::size_t size() const { return values_.size(); }
  /// λ_k, ascending.
  [[nodiscard]] std::span<const double> values() const { return values_; }
  /// q_k (n), of length 1.
  [[nodiscard]] std::span<const double> vector(std::size_t k) const {
    return q_.row(static_cast<index_t>(k));
  }

  /// Eigenvalues up to this are taken for 0: λ_max n ε, as of NumPy's rank.
  [[nodiscard]] double threshold(double precision = double_precision) const {
    return values_.empty()
               ? 0
               : std::max(values_.back(), 0.0) * static_cast<double>(size()) * precision;
  }

 private:
  // A ← Hᵀ A H with reflections H, one for each column; the rows of Q become those of (H_0 H_1
  // ...)ᵀ.
  void tridiagonalise() {
    const index_t n = a_.rows();
    for (index_t k = 0; k + 1 < n; ++k) {
      double square = 0;
      for (index_t i = k + 1; i < n; ++i) {
        square += a_(i, k) * a_(i, k);
      }
      const double head = a_(k + 1, k);
      const double alpha = head > 0 ? -std::sqrt(square) : std::sqrt(square);
      off_[at(k)] = alpha;
      // v = x - α e_1, of length √(2 α (α - x_1)).
      const double half = alpha * (alpha - head);
      if (!(half > 0)) {
        continue;  // x = 0
      }
      for (index_t i = k + 1; i < n; ++i) {
        v_[at(i)] = a_(i, k);
      }
      v_[at(k + 1)] -= alpha;
      // H = 1 - v vᵀ / half; p = A v / half, A ← A - v wᵀ - w vᵀ with w = p - v (pᵀv) / (2 half).
      double product = 0;
      for (index_t i = k + 1; i < n; ++i) {
        double sum = 0;
        for (index_t j = k + 1; j < n; ++j) {
          sum += a_(i, j) * v_[at(j)];
        }
        p_[at(i)] = sum / half;
        product += p_[at(i)] * v_[at(i)];
      }
      for (index_t i = k + 1; i < n; ++i) {
        p_[at(i)] -= product / (2 * half) * v_[at(i)];
      }
      for (index_t i = k + 1; i < n; ++i) {
        for (index_t j = k + 1; j < n; ++j) {
          a_(i, j) -= v_[at(i)] * p_[at(j)] + p_[at(i)] * v_[at(j)];
        }
      }
      std::fill(p_.begin(), p_.end(), 0.0);
      for (index_t i = k + 1; i < n; ++i) {
        for (index_t j = 0; j < n; ++j) {
          p_[at(j)] += v_[at(i)] * q_(i, j) / half;
        }
      }
      for (index_t i = k + 1; i < n; ++i) {
        for (index_t j = 0; j < n; ++j) {
          q_(i, j) -= v_[at(i)] * p_[at(j)];
        }
      }
    }
    for (index_t k = 0; k < n; ++k) {
      values_[at(k)] = a_(k, k);
    }
  }

  // Implicit QR steps on the tridiagonal matrix (values_, off_); the rows of Q turn along.
  void diagonalise() {
    constexpr double epsilon = std::numeric_limits<double>::epsilon();
    const auto negligible = [&](std::size_t k) {
      return std::abs(off_[k]) <=
             epsilon * (std::abs(values_[k]) + std::abs(values_[k + 1])) + epsilon * epsilon;
    };
    std::size_t high = values_.empty() ? 0 : values_.size() - 1;
    for (std::size_t step = 0; high > 0 && step < 60 * values_.size(); ++step) {
      if (negligible(high - 1)) {
        --high;
        continue;
      }
      std::size_t low = high - 1;
      while (low > 0 && !negligible(low - 1)) {
        --low;
      }
      qr_step(low, high);
    }
  }

  void qr_step(std::size_t low, std::size_t high) {
    const double half = (values_[high - 1] - values_[high]) / 2;
    const double last = off_[high - 1];
    const double shift =
        values_[high] - last * last / (half + std::copysign(std::hypot(half, last), half));
    double x = values_[low] - shift;
    double z = off_[low];
    for (std::size_t k = low; k < high; ++k) {
      const double length = std::hypot(x, z);
      const double c = length > 0 ? x / length : 1;
      const double s = length > 0 ? z / length : 0;
      if (k > low) {
        off_[k - 1] = length;
      }
      const double a = values_[k];
      const double b = off_[k];
      const double d = values_[k + 1];
      values_[k] = c * c * a + 2 * c * s * b + s * s * d;
      values_[k + 1] = s * s * a - 2 * c * s * b + c * c * d;
      off_[k] = c * s * (d - a) + (c * c - s * s) * b;
      x = off_[k];
      if (k + 1 < high) {
        z = s * off_[k + 1];
        off_[k + 1] *= c;
      }
      double* const first = q_.row(static_cast<index_t>(k)).data();
      double* const second = q_.row(static_cast<index_t>(k + 1)).data();
      for (std::size_t j = 0; j < values_.size(); ++j) {
        const double one = first[j];
        const double two = second[j];
        first[j] = c * one + s * two;
        second[j] = c * two - s * one;
      }
    }
  }

  void sort() {
    for (std::size_t k = 0; k + 1 < values_.size(); ++k) {
      const auto least = static_cast<std::size_t>(
          std::min_element(values_.begin() + static_cast<std::ptrdiff_t>(k), values_.end()) -
          values_.begin());
      if (least != k) {
        std::swap(values_[k], values_[least]);
        const auto one = q_.row(static_cast<index_t>(k));
        std::swap_ranges(one.begin(), one.end(), q_.row(static_cast<index_t>(least)).begin());
      }
    }
  }

  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

  double largest_ = 0;
  matrix<double> a_, q_;
  std::vector<double> values_, off_, v_, p_;
};

/// x = A⁺ b for a symmetric positive semidefinite A (n, n), with A⁺ the pseudo-inverse of Moore and
/// Penrose: by a Cholesky factor of A with its rows and columns brought to length 1 where that has
/// full rank, so that the unit of a row does not matter, and otherwise by the eigenvalues of A
/// above symmetric_eigen::threshold.
///
/// Residual: ‖Ax - b‖_∞ / ‖b‖_∞. It is not small where b is not in the range of A.
class pseudo_inverse {
 public:
  certificate solve(gram_matrix a, std::span<const double> b, std::span<double> x,
                    double precision = double_precision) {
    eigen_.reserve(a.rows);
    certificate found{.iterations = 1};
    const double enough = 1e-9 + 1e3 * precision;
    // Noise can pass for full rank; what it then solves does not fit.
    if (!solve_full(a, b, x, precision) || !(relative_residual(a, b, x) <= enough)) {
      eigen_.assign(a);
      const double smallest = eigen_.threshold(precision);
      std::fill(x.begin(), x.end(), 0.0);
      for (std::size_t k = 0; k < eigen_.size(); ++k) {
        if (eigen_.values()[k] > smallest) {
          const auto q = eigen_.vector(k);
          double product = 0;
          for (std::size_t i = 0; i < x.size(); ++i) {
            product += q[i] * b[i];
          }
          for (std::size_t i = 0; i < x.size(); ++i) {
            x[i] += product / eigen_.values()[k] * q[i];
          }
        }
      }
    }
    found.residual = relative_residual(a, b, x);
    found.converged = found.residual <= enough;
    return found;
  }

 private:
  // ‖Ax - b‖_∞ / ‖b‖_∞.
  static double relative_residual(gram_matrix a, std::span<const double> b,
                                  std::span<const double> x) {
    double worst = 0;
    double largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      worst = std::max(worst, std::abs(residual(a, b, x, i)));
      largest = std::max(largest, std::abs(b[i]));
    }
    return largest > 0 ? worst / largest : 0;
  }

  static double residual(gram_matrix a, std::span<const double> b, std::span<const double> x,
                         std::size_t i) {
    double value = b[i];
    const double* const row = a.row(static_cast<index_t>(i));
    for (std::size_t j = 0; j < x.size(); ++j) {
      value -= row[j] * x[j];
    }
    return value;
  }

  bool solve_full(gram_matrix a, std::span<const double> b, std::span<double> x, double precision) {
    const std::size_t n = x.size();
    lengths_.resize(n);
    rest_.resize(n);
    factor_.clear(n);
    for (std::size_t i = 0; i < n; ++i) {
      const double* const row = a.row(static_cast<index_t>(i));
      if (!(row[i] > 0)) {
        return false;
      }
      lengths_[i] = std::sqrt(row[i]);
      const double smallest = 4 * static_cast<double>(n) * precision;
      if (!(factor_.append([&](std::size_t j) { return row[j] / lengths_[i] / lengths_[j]; }, 1,
                           smallest) > smallest)) {
        return false;
      }
    }
    std::fill(x.begin(), x.end(), 0.0);
    for (int pass = 0; pass < 2; ++pass) {  // the second one refines
      for (std::size_t i = 0; i < n; ++i) {
        rest_[i] = residual(a, b, x, i) / lengths_[i];
      }
      factor_.solve(rest_);
      for (std::size_t i = 0; i < n; ++i) {
        x[i] += rest_[i] / lengths_[i];
      }
    }
    return true;
  }

  cholesky factor_;
  symmetric_eigen eigen_;
  std::vector<double> lengths_, rest_;
};

}  // namespace vierbein::weighting::solver
