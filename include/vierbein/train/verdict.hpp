// How good a task is.
#pragma once

#include <cmath>
#include <limits>
#include <span>

#include "vierbein/train/training.hpp"

namespace vierbein::detail {

/// How good a task is on some rows: its mean loss, and a score that is larger when it is better.
/// Both are NaN when the rows have no label of it.
struct verdict {
  double loss = std::numeric_limits<double>::quiet_NaN();
  double score = std::numeric_limits<double>::quiet_NaN();

  /// Whether this is better than the earlier `other` by what is asked for. NaN is never better.
  [[nodiscard]] bool better(const verdict& other, best_by by) const {
    if (by == best_by::last) {
      return !std::isnan(loss);
    }
    if (by == best_by::score && !(score == other.score)) {
      return score > other.score;
    }
    return loss < other.loss;
  }
  /// The mean of those that have labels; worse than all others when none has any.
  static verdict mean(std::span<const verdict> all) {
    verdict sum{0, 0};
    double present = 0;
    for (const verdict& v : all) {
      if (!std::isnan(v.loss)) {
        sum.loss += v.loss;
        sum.score += v.score;
        ++present;
      }
    }
    return {sum.loss / present, sum.score / present};
  }
  /// Worse than every other.
  static constexpr verdict worst() {
    return {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  }
};

}  // namespace vierbein::detail
