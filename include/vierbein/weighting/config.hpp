// A direction that has the same cosine with every gradient.
#pragma once

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/cosines.hpp"
#include "vierbein/weighting/solver/eigen.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// ConFIG, conflict-free inverse gradients (Liu, Chu and Thuerey 2024). With the rows of U the
/// gradients at length 1,
///     x = U⁺p,   d = (Σ_t g_t · x̂) x̂,   x̂ = x / ‖x‖.
/// U⁺ = Uᵀ(UUᵀ)⁺, so the Gramian suffices (the peers decompose the T × P matrix): with the cosines
/// C = D⁻¹GD⁻¹, D = diag ‖g_t‖,
///     y = C⁺p,   v = D⁻¹y,   w = v (1ᵀGv) / (vᵀGv).
/// p_t is `preference[t]`, or 1. d has the cosines with the gradients in the proportions p where
/// they are independent; dependent ones may conflict. w = 0 where d is; a gradient that is 0 has
/// the weight 0. The residual of `last` is that of Cy = p.
struct config {
  using weighting_kind = gram_based;

  std::vector<double> preference = {};  ///< (T), not negative; empty: 1

  present_tasks tasks = {};
  solver::cosines unit = {};
  solver::pseudo_inverse inverse = {};
  solver::certificate found = {};
  std::vector<double> p = {}, y = {}, wanted = {};

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = preference.empty(),
            .linear_under_scaling = true,
            .homogeneity = 1,
            .scale = preference.empty() ? weight_scale::sum : weight_scale::other};
  }

  /// Throws for an unusable preference.
  void reset(const std::vector<std::string>& names) {
    present_tasks::require_preference(preference, names.size(), "weighting::config");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::config";
    present_tasks::require_preference(preference, l.size(), place);
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      p.resize(loss.size());
      tasks.preferences(preference, weight_scale::sum, p);
      unit.assign(gram);
      const std::size_t m = unit.size();
      wanted.resize(m);
      y.resize(m);
      for (std::size_t i = 0; i < m; ++i) {
        wanted[i] = p[unit.rows[i]];
      }
      found = inverse.solve(unit.c.view(), wanted, y, tasks.precision());
      double along = 0;   // Σ g_t · x
      double square = 0;  // ‖x‖²
      double size = 0;
      double within = 0;  // ‖Cy‖², the part of p within the range of C
      double whole = 0;   // ‖p‖²
      for (std::size_t i = 0; i < m; ++i) {
        size += std::abs(y[i]);
        double product = 0;
        const double* const row = unit.c.view().row(static_cast<index_t>(i));
        for (std::size_t j = 0; j < m; ++j) {
          product += row[j] * y[j];
        }
        within += product * product;
        whole += wanted[i] * wanted[i];
        along += unit.lengths[i] * product;
        square += y[i] * product;
      }
      // x is 0 where p is orthogonal to the range of C; noise remains of it.
      const double noise = 1e3 * tasks.precision();
      if (!(square > static_cast<double>(m) * tasks.precision() * size * size) ||
          !(within > noise * noise * whole)) {
        return;
      }
      for (std::size_t i = 0; i < m; ++i) {
        out[unit.rows[i]] = y[i] / unit.lengths[i] * along / square;
      }
    });
  }

  /// The residual of Cy = p.
  [[nodiscard]] solver::certificate last() const { return found; }
};

}  // namespace vierbein::weighting
