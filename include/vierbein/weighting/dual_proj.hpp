// The mean gradient is kept as far as it harms no task.
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

/// DualProj: the projection of Σ p_t g_t on the cone of directions that harm no task, after
/// gradient episodic memory (Lopez-Paz and Ranzato 2017),
///     w = argmin vᵀGv over v ≥ p.
/// p_t is `preference[t]`, or 1/T (weight_scale::mean, as in TorchJD), or 1 (weight_scale::sum).
///
/// Deviation: exact, without TorchJD's shift of G by 1e-4 of its trace and its threshold for small
/// gradients (see upgrad.hpp). w = 0 where the projection is 0 to within G's precision, except for
/// gradients that are 0, which have p_t.
struct dual_proj {
  using weighting_kind = gram_based;

  std::vector<double> preference = {};  ///< (T), not negative; empty: by `scale`
  weight_scale scale = weight_scale::mean;

  present_tasks tasks = {};
  solver::dual_cone cone = {};
  solver::certificate found = {};
  std::vector<double> p = {};

  /// TorchJD's default preference.
  static dual_proj torchjd() { return {}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = true,
            .permutation_invariant = preference.empty(),
            .strongly_stationary =
                std::find(preference.begin(), preference.end(), 0.0) == preference.end(),
            .homogeneity = 1,
            .scale = preference.empty() ? scale : weight_scale::other};
  }

  /// Throws for an unusable preference.
  void reset(const std::vector<std::string>& names) {
    present_tasks::require_preference(preference, names.size(), "weighting::dual_proj");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::dual_proj";
    present_tasks::require_preference(preference, l.size(), place);
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      p.resize(loss.size());
      tasks.preferences(preference, scale, p);
      cone.assign(gram, tasks.precision());
      found = cone.project(p, out);
    });
  }

  /// What the solver says about the last answer.
  [[nodiscard]] solver::certificate last() const { return found; }
};

}  // namespace vierbein::weighting
