// A weighting policy of one's own: tasks count by how much the others agree with them.
#pragma once

#include <string>
#include <vector>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace custom_weighting {

namespace vb = vierbein;

/// w = softmax(sharpness · c), c_t = mean over s of cos(g_s, g_t): made up for this example. The
/// weights are positive and add up to 1 over the tasks that the batch has labels of.
struct agreement {
  using weighting_kind = vb::gram_based;

  double sharpness = 2;

  vb::weighting::named_tasks tasks = {};  ///< set by `reset`: who is to be named in an error

  void reset(const std::vector<std::string>& names) { tasks.begin(names); }

  void weigh(vb::losses l, vb::gram_matrix g, vb::weights w) const {
    tasks.require_gradients(l, g, "agreement");
    const auto count = static_cast<double>(vb::weighting::present_count(l));
    for (std::size_t t = 0; t < l.size(); ++t) {
      w[t] = 0;
      for (std::size_t s = 0; s < l.size(); ++s) {
        w[t] += l.has(s) && l.has(t) ? sharpness * vb::weighting::cosine(g, s, t) / count : 0.0;
      }
    }
    vb::weighting::softmax(l, w);
  }

  /// What `check_weighting` is to hold it to.
  [[nodiscard]] vb::weighting::weighting_traits traits() const {
    return {.permutation_invariant = true,
            .strongly_stationary = true,
            .convex_weights = true,
            .homogeneity = 1,
            .scale = vb::weighting::weight_scale::mean};
  }
};

}  // namespace custom_weighting
