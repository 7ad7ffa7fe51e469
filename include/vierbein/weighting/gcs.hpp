// Auxiliaries count while their gradients point the target's way.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Gradient cosine similarity (Du, Czarnecki, Jayakumar, Farajtabar, Pascanu and Lakshminarayanan
/// 2018). The target has the weight 1 and auxiliary i
///     unweighted:  w_i = 1[cos(g_i, g_target) > 0]
///     weighted:    w_i = max(0, cos(g_i, g_target)),      cos(g_i, g_t) = G_it / √(G_ii G_tt).
/// The cosine of a gradient that is 0 is taken to be 0.
///
/// The paper has every task in every step. Here a batch may lack labels: an auxiliary keeps the
/// weight it had last (1 at first) in a batch without it or without the target. With T = 1 the
/// weight is 1. Losses are not looked at; a gradient that is not finite is refused by name.
struct gcs {
  using weighting_kind = gram_based;

  std::string target = {};
  bool weighted = false;

  named_tasks tasks = {};         ///< set by `reset`
  std::vector<double> gate = {};  ///< (T) the last weights

  /// Begins again. Throws for an unknown target.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names, target, "weighting::gcs");
    gate.assign(names.size(), 1.0);
  }

  void weigh(losses l, gram_matrix g, weights w) {
    tasks.require_gradients(l, g, "weighting::gcs");
    for (std::size_t t = 0; t < tasks.size(); ++t) {
      if (t != tasks.target && l.has(t) && l.has(tasks.target)) {
        const double similarity = cosine(g, t, tasks.target);
        gate[t] = weighted ? std::max(0.0, similarity) : (similarity > 0 ? 1.0 : 0.0);
      }
    }
    std::copy(gate.begin(), gate.end(), w.begin());
  }
};

}  // namespace vierbein::weighting
