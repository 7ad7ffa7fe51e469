// Weights chosen by the user.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/concept.hpp"

namespace vierbein::weighting {

/// w_t = values[t], in the order of the tasks. Throws when there is not one number a task, or one
/// is negative or not finite.
struct constant {
  using weighting_kind = loss_based;

  std::vector<double> values;

  void reset(std::size_t tasks) const {
    require(values.size() == tasks, "weighting::constant",
            "expected {} weights, one a task, got {}", tasks, values.size());
    for (const double v : values) {
      require(v >= 0 && std::isfinite(v), "weighting::constant",
              "expected weights that are finite and not negative, got {}", v);
    }
  }

  void weigh(losses l, weights w) const {
    require(values.size() == l.size(), "weighting::constant",
            "expected {} weights, one a task, got {}", l.size(), values.size());
    std::copy(values.begin(), values.end(), w.begin());
  }
};

}  // namespace vierbein::weighting
