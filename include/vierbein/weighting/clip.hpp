// Weights, or the step that they make, held within a bound.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/decorator.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// The weights ŵ of `policy`, first each held to |w_t| ≤ `largest`, then all scaled down together
/// where the step d = Jᵀw is longer than `norm`:
///     w_t = min(max(ŵ_t, -largest), largest),   w ← w · min(1, norm / ‖d‖),   ‖d‖² = wᵀGw.
/// Both bounds are infinite at first. A policy of the kind loss_based knows no `norm`, and one of
/// the kind gradient_based, which answers d itself, no `largest`. With norm = 1 around `nash_mtl`
/// it is the max_norm of Nash-MTL (Navon et al. 2022).
template <class Policy>
struct clip {
  static_assert(StepWeighting<Policy> || GradientBasedWeighting<Policy>,
                "clip wraps a policy of the kind loss_based, gram_based or gradient_based");
  using weighting_kind = typename Policy::weighting_kind;
  static constexpr std::size_t gram_batches = weighting::gram_batches<Policy>;
  static constexpr bool fixed_columns = [] {
    if constexpr (requires { Policy::fixed_columns; }) {
      return Policy::fixed_columns;
    } else {
      return false;
    }
  }();

  Policy policy = {};
  double largest = std::numeric_limits<double>::infinity();
  double norm = std::numeric_limits<double>::infinity();

  [[nodiscard]] weighting_traits traits() const {
    weighting_traits t = traits_of(policy);
    const bool elements = std::isfinite(largest);
    if (elements || std::isfinite(norm)) {
      t.non_conflicting = t.non_conflicting && !elements;
      // Where gradients depend on each other, Jᵀŵ does not determine the ŵ that are clipped.
      t.permutation_invariant =
          t.permutation_invariant && (!elements || LossBasedWeighting<Policy>);
      t.strongly_stationary = t.strongly_stationary && !elements;
      t.linear_under_scaling = false;
      t.convex_weights = t.convex_weights && !std::isfinite(norm) && largest >= 1;
      t.homogeneity = {};
      t.scale = weight_scale::other;
    }
    return t;
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require(largest > 0, "weighting::clip", "largest must be positive, but is {}", largest);
    require(norm > 0, "weighting::clip", "norm must be positive, but is {}", norm);
    require(!LossBasedWeighting<Policy> || !std::isfinite(norm), "weighting::clip",
            "norm needs a policy that sees gradients, but this one sees losses alone");
    require(StepWeighting<Policy> || !std::isfinite(largest), "weighting::clip",
            "largest needs a policy that answers weights, but this one answers a direction");
    require(gram_batches == 1 || !std::isfinite(norm), "weighting::clip",
            "norm needs the Gramian of one batch, but the policy asks for {} batches",
            gram_batches);
    weighting::reset(policy, names);
  }

  void weigh(losses l, weights w)
    requires LossBasedWeighting<Policy>
  {
    policy.weigh(l, w);
    hold(w);
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires GramBasedWeighting<Policy>
  {
    policy.weigh(l, g, w);
    hold(w);
    if (std::isfinite(norm)) {
      const double length = step_length(l, g, w);
      for (double& v : w) {
        v = length > norm ? v * (norm / length) : v;
      }
    }
  }

  template <Scalar T>
  void combine(losses l, matrix_view<const T> j, std::span<T> d)
    requires GradientBasedWeighting<Policy>
  {
    policy.combine(l, j, d);
    if (std::isfinite(norm)) {
      const double length = std::sqrt(
          squared_length(matrix_view<const T>(d.data(), 1, static_cast<index_t>(d.size())), 0));
      for (T& v : d) {
        v = length > norm ? static_cast<T>(v * (norm / length)) : v;
      }
    }
  }
  void layout(std::span<const gradient_columns> columns)
    requires requires(Policy& p) { p.layout(columns); }
  {
    policy.layout(columns);
  }
  void worth(weights w) const
    requires requires(const Policy& p) { p.worth(w); }
  {
    policy.worth(w);
  }

  [[nodiscard]] bool observes() const
    requires Observes<Policy>
  {
    return weighting::observes(policy);
  }
  void observe(losses losses_after)
    requires Observes<Policy>
  {
    policy.observe(losses_after);
  }
  void end_epoch(std::span<const double> mean)
    requires EndingEpochs<Policy>
  {
    policy.end_epoch(mean);
  }
  [[nodiscard]] std::size_t iterations() const { return weighting::iterations(policy); }

 private:
  void hold(weights w) const {
    for (double& v : w) {
      v = std::clamp(v, -largest, largest);
    }
  }

  static double step_length(losses l, gram_matrix g, weights w) {
    double square = 0;
    for (std::size_t s = 0; s < w.size(); ++s) {
      for (std::size_t t = 0; t < w.size(); ++t) {
        square += l.has(s) && l.has(t)
                      ? w[s] * w[t] * g(static_cast<index_t>(s), static_cast<index_t>(t))
                      : 0.0;
      }
    }
    return std::sqrt(std::max(square, 0.0));
  }
};

}  // namespace vierbein::weighting
