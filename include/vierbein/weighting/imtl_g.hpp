// A direction along which all tasks improve alike.
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

/// IMTL-G, the gradient half of impartial multi-task learning (Liu, Li, Kuang, Xue, Chen, Yang,
/// Liao and Zhang 2021): Σ w_t = 1 such that d = Jᵀw has the same projection on every gradient,
///     ⟨d, g_t / ‖g_t‖⟩ equal for all t,   that is w = v / Σ v, v = G⁺n, n_t = ‖g_t‖.
/// A weight may be negative. Its other half, on losses, is a policy of its own.
///
/// The paper inverts a matrix of differences, which fails for dependent gradients; TorchJD takes
/// the pseudo-inverse, as here. w = 0 where Σ v vanishes: |Σ v| ≤ 1e-12 Σ |v|, a threshold that
/// knows no unit (TorchJD: |Σ v| < 1e-12). A gradient that is 0 has the weight 0. The residual of
/// `last` is that of Gv = n, which dependent gradients may leave unsolvable.
struct imtl_g {
  using weighting_kind = gram_based;

  present_tasks tasks = {};
  solver::pseudo_inverse inverse = {};
  solver::certificate found = {};
  std::vector<double> lengths = {};

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true, .homogeneity = 1, .scale = weight_scale::mean};
  }

  void reset(const std::vector<std::string>& names) { tasks.begin(names); }

  void weigh(losses l, gram_matrix g, weights w) {
    tasks.weigh(l, g, w, "weighting::imtl_g",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  lengths.resize(loss.size());
                  for (std::size_t i = 0; i < lengths.size(); ++i) {
                    lengths[i] = gradient_norm(gram, i);
                  }
                  found = inverse.solve(gram, lengths, out, tasks.precision());
                  double sum = 0;
                  double size = 0;
                  for (const double v : out) {
                    sum += v;
                    size += std::abs(v);
                  }
                  const double factor =
                      std::abs(sum) > std::max(1e-12, tasks.precision()) * size ? 1 / sum : 0;
                  for (double& v : out) {
                    v *= factor;
                  }
                });
  }

  /// The residual of Gv = n.
  [[nodiscard]] solver::certificate last() const { return found; }
};

}  // namespace vierbein::weighting
