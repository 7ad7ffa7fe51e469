// Coordinate by coordinate, the mean of the gradients without the extreme ones.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Trimmed mean (Yin, Chen, Ramchandran and Bartlett 2018). In every coordinate the `trim` largest
/// and the `trim` smallest of the T entries are dropped and the rest averaged:
///     d_k = (T - 2 trim)⁻¹ Σ_{trim < r ≤ T - trim} J_(r)k,      J_(1)k ≤ ... ≤ J_(T)k.
/// J (T, P), d (P) of the scale of the mean; needs T ≥ 2 trim + 1, which `reset` checks. O(P T log
/// T) operations. The default, trim = 1, is ours.
///
/// A batch without some tasks has n < T entries; then min(trim, ⌊(n - 1) / 2⌋) are dropped at
/// either end, which the paper, where no task is ever absent, does not need. Stateless.
struct trimmed_mean {
  using weighting_kind = gradient_based;

  std::size_t trim = 1;

  named_tasks tasks = {};           ///< set by `reset`
  std::vector<double> column = {};  ///< (T) room to sort

  /// Begins again. Throws for too few tasks.
  void reset(const std::vector<std::string>& names) {
    require(names.size() >= 2 * trim + 1, "weighting::trimmed_mean",
            "trim = {} needs at least {} tasks, but there are {}", trim, 2 * trim + 1,
            names.size());
    tasks.begin(names);
    column.assign(names.size(), 0.0);
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d) {
    tasks.require_rows<T>(l, j, d, "weighting::trimmed_mean");
    for (index_t k = 0; k < j.cols; ++k) {
      std::size_t n = 0;
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (l.has(t)) {
          column[n++] = static_cast<double>(j(static_cast<index_t>(t), k));
        }
      }
      const std::size_t cut = n > 0 ? std::min(trim, (n - 1) / 2) : 0;
      std::sort(column.begin(), column.begin() + static_cast<std::ptrdiff_t>(n));
      double total = 0;
      for (std::size_t r = cut; r + cut < n; ++r) {
        total += column[r];
      }
      d[static_cast<std::size_t>(k)] =
          static_cast<T>(n > 0 ? total / static_cast<double>(n - 2 * cut) : 0.0);
    }
  }
};

}  // namespace vierbein::weighting
