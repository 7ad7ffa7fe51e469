// Ridge regression with its leave-one-out error: small, so plain loops do, which compile at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "vierbein/core/matrix.hpp"

namespace vierbein::backend {

/// Mean squared leave-one-out error of the ridge regression of y on centred columns of x with
/// penalty `penalty` · n, in closed form (Allen 1974: PRESS): e_i = r_i / (1 - H_ii), where H is
/// the hat matrix and r the residuals. x (n, d), y (n); O(n d²).
inline double ridge_leave_one_out(const matrix<double>& x, std::span<const double> y,
                                  double penalty) {
  const index_t n = x.rows();
  const index_t d = x.cols();
  const auto count = static_cast<double>(n);
  matrix<double> z = x;
  std::vector<double> mean(static_cast<std::size_t>(d), 0.0);
  double y_mean = 0;
  for (index_t i = 0; i < n; ++i) {
    for (index_t a = 0; a < d; ++a) {
      mean[static_cast<std::size_t>(a)] += z(i, a) / count;
    }
    y_mean += y[static_cast<std::size_t>(i)] / count;
  }
  double squares = 0;
  for (index_t i = 0; i < n; ++i) {
    for (index_t a = 0; a < d; ++a) {
      z(i, a) -= mean[static_cast<std::size_t>(a)];
      squares += z(i, a) * z(i, a);
    }
  }
  const double size = std::sqrt(squares / count) + 1e-300;
  for (index_t i = 0; i < z.size(); ++i) {
    z.data()[i] /= size;  // the penalty is relative to the spread of the points
  }

  // L Lᵀ = ZᵀZ + λ I, in the lower triangle.
  matrix<double> l(d, d);
  for (index_t a = 0; a < d; ++a) {
    l(a, a) = penalty * count;
  }
  for (index_t i = 0; i < n; ++i) {
    const double* v = z.row(i).data();
    for (index_t a = 0; a < d; ++a) {
      double* to = l.row(a).data();
      for (index_t b = 0; b <= a; ++b) {
        to[b] += v[a] * v[b];
      }
    }
  }
  // v becomes L⁻¹ v, for the rows of L that are there.
  const auto forward = [&l](double* v, index_t rows) {
    for (index_t a = 0; a < rows; ++a) {
      double rest = v[a];
      for (index_t b = 0; b < a; ++b) {
        rest -= l(a, b) * v[b];
      }
      v[a] = rest / l(a, a);
    }
  };
  for (index_t a = 0; a < d; ++a) {
    double* row = l.row(a).data();
    forward(row, a);
    for (index_t b = 0; b < a; ++b) {
      row[a] -= row[b] * row[b];
    }
    row[a] = std::sqrt(std::max(row[a], 1e-300));
  }

  // H = Z (ZᵀZ + λ I)⁻¹ Zᵀ + 1/n = V Vᵀ + 1/n with V = Z L⁻ᵀ, the second part for the mean.
  std::vector<double> projection(static_cast<std::size_t>(d), 0.0);  // Vᵀ (y - mean y)
  for (index_t i = 0; i < n; ++i) {
    double* v = z.row(i).data();
    forward(v, d);
    for (index_t a = 0; a < d; ++a) {
      projection[static_cast<std::size_t>(a)] += v[a] * (y[static_cast<std::size_t>(i)] - y_mean);
    }
  }
  double total = 0;
  for (index_t i = 0; i < n; ++i) {
    double leverage = 1 / count;
    double residual = y[static_cast<std::size_t>(i)] - y_mean;
    for (index_t a = 0; a < d; ++a) {
      leverage += z(i, a) * z(i, a);
      residual -= z(i, a) * projection[static_cast<std::size_t>(a)];
    }
    const double e = residual / std::max(1e-6, 1 - leverage);
    total += e * e;
  }
  return total / count;
}

}  // namespace vierbein::backend
