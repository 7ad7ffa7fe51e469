// The shortest vector in the convex hull of the gradients.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/min_norm.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// The multiple-gradient descent algorithm (Désidéri 2012; Sener and Koltun 2018):
///     w = argmin ‖Σ w_t g_t / s_t‖² over w ≥ 0, Σ w = 1,
/// with s_t by `normalisation`:  none 1,  l2 ‖g_t‖,  loss ℓ_t,  loss_plus ℓ_t ‖g_t‖. The model
/// follows Σ w_t g_t, as in Sener and Koltun's code, or Σ w_t g_t / s_t where `keep_normalised`.
///
/// Deviation: the minimum is exact (solver/min_norm.hpp). The peers stop a Frank-Wolfe or gradient
/// iteration: TorchJD at a step of 1e-3 or after 100, LibMTL at 1e-5 or after 250.
/// d = 0 at weakly Pareto stationary points: one gradient that is 0 gets all the weight, and
/// several share it. With s_t = 0 a gradient enters as it is. Losses must be positive where they
/// divide.
struct mgda {
  using weighting_kind = gram_based;
  enum class gradient_normalisation { none, l2, loss, loss_plus };

  gradient_normalisation normalisation = gradient_normalisation::none;
  bool keep_normalised = false;

  present_tasks tasks = {};
  solver::min_norm shortest = {};
  solver::certificate found = {};
  matrix<double> normalised = {};    ///< G in units of s
  std::vector<double> lengths = {};  ///< s

  /// LibMTL's: Σ w_t g_t / s_t, whatever the normalisation.
  static mgda libmtl(gradient_normalisation n = gradient_normalisation::none) {
    return {.normalisation = n, .keep_normalised = true};
  }

  [[nodiscard]] weighting_traits traits() const {
    const bool plain = normalisation == gradient_normalisation::none;
    return {
        .non_conflicting = plain || keep_normalised,
        .permutation_invariant = true,
        .convex_weights = plain || !keep_normalised,
        .homogeneity =
            plain || !keep_normalised || normalisation == gradient_normalisation::loss ? 1.0 : 0.0,
        .scale = plain || !keep_normalised ? weight_scale::mean : weight_scale::other};
  }

  void reset(const std::vector<std::string>& names) { tasks.begin(names); }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::mgda";
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      if (normalisation == gradient_normalisation::none) {
        found = shortest.solve(gram, out, tasks.precision());
        return;
      }
      const std::size_t m = loss.size();
      lengths.resize(m);
      normalised.resize(gram.rows, gram.rows);
      for (std::size_t i = 0; i < m; ++i) {
        const double length = gradient_norm(gram, i);
        const bool by_loss = normalisation != gradient_normalisation::l2;
        const bool by_length = normalisation != gradient_normalisation::loss;
        if (by_loss && !(loss[i] > 0)) {
          throw error(place, formatted("the loss of task {} must be positive to divide by, but is "
                                       "{}",
                                       tasks.label(i), loss[i]));
        }
        lengths[i] = (by_loss ? loss[i] : 1) * (by_length && length > 0 ? length : 1);
      }
      for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < m; ++j) {
          const auto r = static_cast<index_t>(i);
          const auto c = static_cast<index_t>(j);
          normalised(r, c) = gram(r, c) / lengths[i] / lengths[j];
        }
      }
      found = shortest.solve(normalised.view(), out, tasks.precision());
      for (std::size_t i = 0; keep_normalised && i < m; ++i) {
        out[i] /= lengths[i];
      }
    });
  }

  /// What the solver says about the last answer.
  [[nodiscard]] solver::certificate last() const { return found; }
};

}  // namespace vierbein::weighting
