// Auxiliary weights that rise and fall with the similarity of gradients.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// OL-AUX (Lin, Baweja, Kantor and Held 2019). A step that decreases Σ w_i ℓ_i decreases the
/// target's loss by ⟨g_i, g_target⟩ for each unit of w_i; so, every N steps,
///     w_i ← w_i + rate Σ_(last N steps) s_i,   s_i = ⟨g_i, g_target⟩ (paper) or their cosine.
/// The target has the weight 1. Defaults: the cosine, as the published code does and so that the
/// losses' units do not matter, N = `every` = 5, w_i = `initial` = 1 at first; rate 0.01 is ours.
///
/// Deviation: a weight that would fall below 0, and so make the model unlearn an auxiliary, stays
/// at 0, unless `clamp` is false. Nothing bounds it from above.
///
/// In a batch without the target or without auxiliary i, nothing is added for i; batches without
/// the target are not counted. A gradient that is 0 has the cosine 0. With T = 1 the weight is 1.
/// Losses are not looked at; a gradient that is not finite is refused by name.
struct ol_aux {
  using weighting_kind = gram_based;

  std::string target = {};
  double rate = 0.01;
  std::size_t every = 5;
  double initial = 1;
  bool cosines = true;  ///< otherwise inner products
  bool clamp = true;    ///< weights do not become negative

  named_tasks tasks = {};          ///< set by `reset`
  std::vector<double> value = {};  ///< (T) the present weights
  std::vector<double> sum = {};    ///< (T) rate Σ s since they last changed
  std::size_t steps = 0;           ///< with the target, since they last changed

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::ol_aux");
    require_not_negative(rate, "rate", "weighting::ol_aux");
    require_not_negative(initial, "initial", "weighting::ol_aux");
    require_every(every, "weighting::ol_aux");
    value.assign(names.size(), initial);
    value[tasks.target] = 1;
    sum.assign(names.size(), 0.0);
    steps = 0;
  }

  void weigh(losses l, gram_matrix g, weights w) {
    tasks.require_gradients(l, g, "weighting::ol_aux");
    if (l.has(tasks.target)) {
      const auto main = static_cast<index_t>(tasks.target);
      for (std::size_t t = 0; t < tasks.size(); ++t) {
        if (t != tasks.target && l.has(t)) {
          sum[t] +=
              rate * (cosines ? cosine(g, t, tasks.target) : g(static_cast<index_t>(t), main));
        }
      }
      if (++steps == every) {
        steps = 0;
        for (std::size_t t = 0; t < tasks.size(); ++t) {
          value[t] = clamp ? std::max(0.0, value[t] + sum[t]) : value[t] + sum[t];
          sum[t] = 0;
        }
      }
    }
    std::copy(value.begin(), value.end(), w.begin());
  }
};

}  // namespace vierbein::weighting
