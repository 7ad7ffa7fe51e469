// Ridge regression with its leave-one-out error, through Eigen.
#pragma once

#include <span>

#include "vierbein/backend/eigen.hpp"
#include "vierbein/core/matrix.hpp"

namespace vierbein::backend {

/// Mean squared leave-one-out error of the ridge regression of y on centred columns of x with
/// penalty `penalty` · n, in closed form (Allen 1974: PRESS): e_i = r_i / (1 - H_ii), where H is
/// the hat matrix and r the residuals. x (n, d), y (n); solved in the smaller of n and d unknowns.
inline double ridge_leave_one_out(const matrix<double>& x, std::span<const double> y,
                                  double penalty) {
  using dense = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Eigen::Map<const dense> raw(x.data(), x.rows(), x.cols());
  const Eigen::Map<const Eigen::VectorXd> target(y.data(), static_cast<Eigen::Index>(y.size()));
  const auto n = static_cast<double>(x.rows());
  dense z = raw.rowwise() - raw.colwise().mean();
  const double size = std::sqrt(z.squaredNorm() / n) + 1e-300;
  z /= size;  // the penalty is relative to the spread of the points
  const Eigen::VectorXd t = target.array() - target.mean();
  // H = Z (ZᵀZ + λ I)⁻¹ Zᵀ + 1/n, the second part for the mean.
  const dense gram = z.transpose() * z + penalty * n * dense::Identity(z.cols(), z.cols());
  const Eigen::LLT<Eigen::MatrixXd> factor{Eigen::MatrixXd(gram)};
  const Eigen::MatrixXd solved = factor.solve(z.transpose());  // (d, n)
  const Eigen::VectorXd fitted = z * (solved * t);
  double total = 0;
  for (Eigen::Index i = 0; i < z.rows(); ++i) {
    const double leverage = z.row(i).dot(solved.col(i)) + 1 / n;
    const double e = (t(i) - fitted(i)) / std::max(1e-6, 1 - leverage);
    total += e * e;
  }
  return total / n;
}

}  // namespace vierbein::backend
