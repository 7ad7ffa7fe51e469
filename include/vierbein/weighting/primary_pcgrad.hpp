// Auxiliaries lose what points against the target.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/combinations.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// PCGrad in which the target's gradient stays as it is and the others are projected against it
/// alone (as in the code of ForkMerge, Jiang, Chen, Wang, Long and Wang 2023):
///     d = g_m + Σ_{i≠m} (g_i - min(0, g_i · g_m / ‖g_m‖²) g_m),   m the target.
/// No random order is involved. d never harms the target. In a batch without the target the others
/// have the weight 1.
struct primary_pcgrad {
  using weighting_kind = gram_based;

  std::string target = {};

  named_tasks names = {};  ///< set by `reset`
  present_tasks tasks = {};
  combination changed = {};

  [[nodiscard]] weighting_traits traits() const {
    return {.linear_under_scaling = true, .homogeneity = 1, .scale = weight_scale::sum};
  }

  /// Throws for an unknown target.
  void reset(const std::vector<std::string>& task_names) {
    names.begin(task_names, target, "weighting::primary_pcgrad");
    tasks.begin(task_names);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    names.require_count(l, "weighting::primary_pcgrad");
    tasks.weigh(l, g, w, "weighting::primary_pcgrad",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  const std::size_t m = tasks.find(names.target);
                  for (std::size_t i = 0; i < loss.size(); ++i) {
                    out[i] += 1;
                    if (i != m && m < loss.size()) {
                      changed.begin(gram, i);
                      changed.remove_conflict(m);
                      out[m] += changed.coefficients()[m];
                    }
                  }
                });
  }
};

}  // namespace vierbein::weighting
