// The gradients' principal components are brought to one length.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/eigen.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Aligned-MTL (Senushkin, Patakin, Kuznetsov and Konushin 2023). With G = Σ λ_k q_k q_kᵀ over the
/// eigenvalues above rounding (λ_max T ε),
///     w = √λ_ref Σ_k λ_k^{-1/2} q_k q_kᵀ p,
/// so that all gradients p_t would combine from components of one length, λ_ref: the smallest of
/// the eigenvalues (`component::min`, default), their median or their mean. p_t is `preference[t]`,
/// or 1/T (weight_scale::mean, as the paper and TorchJD), or 1 (weight_scale::sum, as LibMTL). w =
/// p where G = 0. A weight may be negative.
///
/// An even number of eigenvalues has the smaller of the middle two for median, as in the authors'
/// code. The unit of one task's loss matters here, as it does in the paper.
struct aligned_mtl {
  using weighting_kind = gram_based;
  enum class component { min, median, mean };

  component reference = component::min;
  std::vector<double> preference = {};  ///< (T), not negative; empty: by `scale`
  weight_scale scale = weight_scale::mean;

  present_tasks tasks = {};
  solver::symmetric_eigen eigen = {};
  std::vector<double> p = {};

  /// LibMTL's, whose d is T times as long.
  static aligned_mtl libmtl() { return {.scale = weight_scale::sum}; }
  static aligned_mtl torchjd(component reference = component::min) {
    return {.reference = reference};
  }

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = preference.empty(),
            .homogeneity = 1,
            .scale = preference.empty() ? scale : weight_scale::other};
  }

  /// Throws for an unusable preference.
  void reset(const std::vector<std::string>& names) {
    present_tasks::require_preference(preference, names.size(), "weighting::aligned_mtl");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::aligned_mtl";
    present_tasks::require_preference(preference, l.size(), place);
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      const std::size_t m = loss.size();
      p.resize(m);
      tasks.preferences(preference, scale, p);
      eigen.assign(gram);
      const auto lambda = eigen.values();
      std::size_t first = 0;
      while (first < m && !(lambda[first] > eigen.threshold(tasks.precision()))) {
        ++first;
      }
      if (first == m) {
        std::copy(p.begin(), p.end(), out.begin());
        return;
      }
      double mean = 0;
      for (std::size_t k = first; k < m; ++k) {
        mean += lambda[k] / static_cast<double>(m - first);
      }
      const double wanted = reference == component::min      ? lambda[first]
                            : reference == component::median ? lambda[first + (m - first - 1) / 2]
                                                             : mean;
      for (std::size_t k = first; k < m; ++k) {
        const auto q = eigen.vector(k);
        double share = 0;
        for (std::size_t i = 0; i < m; ++i) {
          share += q[i] * p[i];
        }
        share *= std::sqrt(wanted / lambda[k]);
        for (std::size_t i = 0; i < m; ++i) {
          out[i] += share * q[i];
        }
      }
    });
  }
};

}  // namespace vierbein::weighting
