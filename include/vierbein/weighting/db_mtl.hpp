// Gradients of log losses, brought to the length of the longest.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// DB-MTL, dual-balancing (Lin, Jiang, Ye, Zhang, Chen, Chen, Liu and Kwok 2023), without a moving
/// average of gradients (β = 0; with one it needs the gradients themselves: db_mtl_ema). With ĝ_t =
/// g_t / (ℓ_t + 10⁻⁸), the gradients of log ℓ_t,
///     d = Σ_t v_t ĝ_t,   v_t = max_s ‖ĝ_s‖ / ‖ĝ_t‖,   that is w_t = v_t / (ℓ_t + 10⁻⁸).
///
/// Deviations: the authors divide by ‖ĝ_t‖ + 10⁻⁸, which makes a task whose gradient vanishes count
/// up to 10⁸-fold and lets the unit of J matter; here no v_t exceeds `largest_weight`, and a
/// gradient that is 0 has v_t = 1. Losses must be positive.
struct db_mtl {
  using weighting_kind = gram_based;

  double largest_weight = 1e4;

  present_tasks tasks = {};
  std::vector<double> lengths = {};

  [[nodiscard]] weighting_traits traits() const {
    return {.permutation_invariant = true, .homogeneity = 1};
  }

  /// Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_positive(largest_weight, "largest_weight", "weighting::db_mtl");
    tasks.begin(names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    constexpr const char* place = "weighting::db_mtl";
    require_positive(largest_weight, "largest_weight", place);
    tasks.weigh(l, g, w, place, [&](std::span<const double> loss, gram_matrix gram, weights out) {
      lengths.resize(loss.size());
      double longest = 0;
      for (std::size_t i = 0; i < loss.size(); ++i) {
        if (!(loss[i] > 0)) {
          throw error(place, fmt::format("the loss of task {} must be positive, but is {}",
                                         tasks.label(i), loss[i]));
        }
        lengths[i] = gradient_norm(gram, i) / (loss[i] + 1e-8);
        longest = std::max(longest, lengths[i]);
      }
      for (std::size_t i = 0; i < loss.size(); ++i) {
        const double v = lengths[i] > 0 ? std::min(longest / lengths[i], largest_weight) : 1;
        out[i] = v / (loss[i] + 1e-8);
      }
    });
  }
};

}  // namespace vierbein::weighting
