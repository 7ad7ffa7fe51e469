// The tasks bargain for the direction.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/solver/fair_allocation.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Nash-MTL (Navon, Shamsian, Achituve, Maron, Kawaguchi, Chechik and Fetaya 2022): the Nash
/// bargaining solution, d = Jᵀw with
///     G w = 1 / w,   w > 0,
/// so that ‖d‖² = T; a longer d than `max_norm` (0: no bound) is shortened to it. w is solved for
/// every `update_every` steps and kept in between. Defaults as in the authors' code, LibMTL and
/// TorchJD: max_norm 1, update_every 1.
///
/// Deviation: Newton's method to the precision of numbers (solver/fair_allocation.hpp), where the
/// authors' code runs up to 20 rounds of a convex-concave procedure with ECOS and stops at 1e-3.
/// That code and its heirs solve for w with G / ‖G‖_F and apply it to the gradients as they are, so
/// their d is √T √‖G‖_F long before the bound; with the default bound both are 1 long unless T
/// ‖G‖_F < 1. For weakly stationary points and gradients that are 0 see fairgrad.hpp; T counts the
/// others.
struct nash_mtl {
  using weighting_kind = gram_based;

  double max_norm = 1;
  std::size_t update_every = 1;

  present_tasks tasks = {};
  solver::fair_allocation problem = {};
  solver::certificate found = {};
  std::vector<double> kept = {};  ///< (T) w before the bound; negative where never solved for
  std::size_t steps = 0;          ///< since w was last solved for

  static nash_mtl libmtl() { return {}; }
  static nash_mtl torchjd() { return {}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.non_conflicting = update_every == 1,
            .permutation_invariant = true,
            .strongly_stationary = true,
            .stateful = update_every != 1,
            .homogeneity = 0};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_options();
    tasks.begin(names);
    begin(names.size());
  }

  void weigh(losses l, gram_matrix g, weights w) {
    require_options();
    if (kept.size() != l.size()) {
      begin(l.size());
    }
    tasks.weigh(l, g, w, "weighting::nash_mtl",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  const std::size_t m = loss.size();
                  bool known = steps < update_every;
                  for (std::size_t i = 0; i < m; ++i) {
                    known = known && kept[tasks[i]] >= 0;
                    out[i] = kept[tasks[i]];
                  }
                  if (!known) {
                    found = problem.solve(gram, 1, out, tasks.precision());
                    steps = 0;
                    for (std::size_t i = 0; i < m; ++i) {
                      kept[tasks[i]] = out[i];
                    }
                  }
                  ++steps;
                  bound(gram, out);
                });
  }

  /// What the solver said when w was last solved for.
  [[nodiscard]] solver::certificate last() const { return found; }

 private:
  void require_options() const {
    require_not_negative(max_norm, "max_norm", "weighting::nash_mtl");
    require(update_every > 0, "weighting::nash_mtl", "update_every must be at least 1, but is 0");
  }

  void begin(std::size_t count) {
    kept.assign(count, -1.0);
    steps = 0;
  }

  void bound(gram_matrix gram, weights out) const {
    double square = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
      for (std::size_t j = 0; j < out.size(); ++j) {
        square += out[i] * gram(static_cast<index_t>(i), static_cast<index_t>(j)) * out[j];
      }
    }
    const double norm = std::sqrt(std::max(square, 0.0));
    if (max_norm > 0 && norm > max_norm) {
      for (double& v : out) {
        v *= max_norm / norm;
      }
    }
  }
};

}  // namespace vierbein::weighting
