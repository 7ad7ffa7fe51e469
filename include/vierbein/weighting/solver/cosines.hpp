// A Gramian as lengths and cosines: what the solvers work on, so that neither the unit of J nor
// that of one task's loss matters to their precision.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/kinds.hpp"

namespace vierbein::weighting::solver {

/// G = D C D over the gradients that are not 0, with lengths D = diag(n) and cosines C. Gradients
/// with G_tt = 0 (or below, by rounding) are left out; element i is that of task `rows[i]`.
struct cosines {
  std::vector<std::size_t> rows = {};  ///< (m) the tasks whose gradient is not 0, in their order
  std::vector<double> lengths = {};    ///< (m) n
  matrix<double> c = {};               ///< (m, m), with ones on the diagonal, within [-1, 1]
  std::size_t tasks = 0;               ///< T

  void assign(gram_matrix g) {
    tasks = static_cast<std::size_t>(g.rows);
    rows.clear();
    lengths.clear();
    rows.reserve(tasks);
    lengths.reserve(tasks);
    for (index_t t = 0; t < g.rows; ++t) {
      if (const double length = std::sqrt(std::max(g(t, t), 0.0)); length > 0) {
        rows.push_back(static_cast<std::size_t>(t));
        lengths.push_back(length);
      }
    }
    const auto m = static_cast<index_t>(rows.size());
    c.resize(m, m);
    for (index_t i = 0; i < m; ++i) {
      for (index_t j = 0; j < i; ++j) {
        const auto s = static_cast<index_t>(rows[static_cast<std::size_t>(i)]);
        const auto t = static_cast<index_t>(rows[static_cast<std::size_t>(j)]);
        const double cosine = g(s, t) / length(i) / length(j);
        c(i, j) = c(j, i) = std::clamp(cosine, -1.0, 1.0);
      }
      c(i, i) = 1;
    }
  }

  /// m.
  [[nodiscard]] std::size_t size() const { return rows.size(); }

 private:
  [[nodiscard]] double length(index_t i) const { return lengths[static_cast<std::size_t>(i)]; }
};

/// Whether ‖Jᵀv‖², of the projection of Jᵀu on a cone, is not told from 0: by the errors of G's
/// entries, with `size` = Σ |u_t| n_t and `total` = Σ |v_t| n_t.
inline bool negligible_square(double square, double size, double total, double precision) {
  return square <= precision * total * (64 * size + 0.5 * total);
}

}  // namespace vierbein::weighting::solver
