// Every gradient is kept as far as it harms no task.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/dual_cone.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// UPGrad (Quinton and Rey 2024): the sum of the projections of the gradients on the cone of
/// directions that harm no task,
///     w = Σ_t v^(t),   v^(t) = argmin vᵀGv over v ≥ p_t e_t.
/// p_t is `preference[t]`, or 1/T as in TorchJD (weight_scale::mean), or 1 (weight_scale::sum,
/// which for T = 2 is PCGrad).
///
/// Deviation: TorchJD divides G by its trace, takes it for 0 where that is below 1e-4 and adds
/// 1e-4 to its diagonal, so d conflicts a little and, for small gradients, entirely. Here the
/// projections are exact (solver/dual_cone.hpp), whatever the unit of J. A projection that is 0 to
/// within G's precision adds nothing; a gradient that is 0 has the weight p_t.
struct upgrad {
  using weighting_kind = gram_based;

  std::vector<double> preference = {};  ///< (T), not negative; empty: by `scale`
  weight_scale scale = weight_scale::mean;

  present_tasks tasks = {};
  solver::dual_cone cone = {};
  solver::certificate found = {};  ///< the worst residual and all iterations of the last answer
  std::vector<double> p = {}, u = {}, v = {};

  /// TorchJD's default preference.
  static upgrad torchjd() { return {}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = true,
            .permutation_invariant = preference.empty(),
            .linear_under_scaling = true,
            .strongly_stationary =
                std::find(preference.begin(), preference.end(), 0.0) == preference.end(),
            .homogeneity = 1,
            .scale = preference.empty() ? scale : weight_scale::other};
  }

  /// Throws for an unusable preference.
  void reset(const std::vector<std::string>& names) {
    present_tasks::require_preference(preference, names.size(), "weighting::upgrad");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::upgrad";
    present_tasks::require_preference(preference, l.size(), place);
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      const std::size_t m = loss.size();
      p.resize(m);
      u.assign(m, 0.0);
      v.resize(m);
      tasks.preferences(preference, scale, p);
      cone.assign(gram, tasks.precision());
      found = {};
      for (std::size_t i = 0; i < m; ++i) {
        if (p[i] == 0) {
          continue;
        }
        u[i] = p[i];
        const solver::certificate one = cone.project(u, v);
        u[i] = 0;
        found.residual = std::max(found.residual, one.residual);
        found.iterations += one.iterations;
        found.converged = found.converged && one.converged;
        for (std::size_t k = 0; k < m; ++k) {
          out[k] += v[k];
        }
      }
    });
  }

  /// What the solver says about the last answer.
  [[nodiscard]] solver::certificate last() const { return found; }
};

}  // namespace vierbein::weighting
