// Standardised inputs: (x - mean) / deviation, with statistics of the training rows kept among the
// parameters, frozen.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/elementwise.hpp"

namespace vierbein::graph {

/// Columns of mean 0 and deviation 1 on the training rows. A column that is constant there is set
/// to 0 everywhere: nothing can be learnt from it. In a column with more than `sparse_share` zeros
/// the zeros stay; bits and counts stay as they are, and where the others are larger than `limit`,
/// or their root mean square is below `least`, that becomes 1. Values beyond ±`limit` deviations
/// are clipped, so that an unheard-of input cannot swamp a prediction.
struct input_scaling {
  segment_id mean = -1;
  segment_id factor = -1;  ///< 1 / deviation, 1 / root mean square, 1, or 0

  static constexpr double limit = 10;
  static constexpr double sparse_share = 0.75;
  static constexpr double least = 0.1;

  template <Scalar T>
  static input_scaling make(parameters<T>& theta, const std::string& name, index_t width) {
    const input_scaling made{theta.add(name + "/mean", 1, width, initialiser::zeros),
                             theta.add(name + "/factor", 1, width, initialiser::ones)};
    theta.freeze(name + "/");
    return made;
  }

  /// Throws for a column whose numbers T cannot tell apart or hold, or whose sum or squares double
  /// cannot.
  template <Scalar T>
  void fit(parameters<T>& theta, const matrix<double>& x, std::span<const index_t> rows) const {
    const auto n = static_cast<double>(rows.size());
    for (index_t c = 0; c < x.cols(); ++c) {
      theta.view(mean)(0, c) = T{0};
      double total = 0;
      double total_squares = 0;
      double zeros = 0;
      double largest = 0;
      for (const index_t r : rows) {
        total += x(r, c);
        total_squares += x(r, c) * x(r, c);
        zeros += x(r, c) == 0 ? 1 : 0;
        largest = std::max(largest, std::abs(x(r, c)));
      }
      const double centre = total / n;
      double squares = 0;
      for (const index_t r : rows) {
        squares += (x(r, c) - centre) * (x(r, c) - centre);
      }
      const double deviation = std::sqrt(squares / n);
      const auto require_range = [&](bool within) {
        require(within, "features",
                "column {} (counted from 0) has the mean {} and the deviation {}, beyond the range "
                "of the model's numbers: rescale it, or take a model of doubles",
                c, centre, deviation);
      };
      require_range(std::isfinite(total) && std::isfinite(squares));
      const bool constant = !(deviation > 1e-10 * (std::abs(centre) + 1e-300));
      if (constant) {
        theta.view(factor)(0, c) = T{0};
        continue;
      }
      const bool sparse = zeros > sparse_share * n;
      const double root = std::sqrt(total_squares / std::max(1.0, n - zeros));
      const double unit = !sparse ? deviation : largest > limit || root < least ? root : 1;
      constexpr double closest = 4 * static_cast<double>(std::numeric_limits<T>::epsilon());
      require(deviation > closest * std::abs(centre), "features",
              "column {} (counted from 0) has the mean {} and the deviation {}, too little for the "
              "model's numbers: subtract a constant from it, or take a model of doubles",
              c, centre, deviation);
      theta.view(mean)(0, c) = sparse ? T{0} : static_cast<T>(centre);
      theta.view(factor)(0, c) = static_cast<T>(1 / unit);
      require_range(std::isfinite(theta.view(mean)(0, c)) &&
                    std::isnormal(theta.view(factor)(0, c)));
    }
  }

  /// Records min(max((x - mean) factor, -limit), limit) as a constant of the step.
  template <Backend B>
  var<B> operator()(tape<B>& t, const matrix<double>& x) const {
    const auto raw = t.upload(matrix_view<const double>(x.view()));
    const auto out = t.make(x.rows(), x.cols());
    t.backend().standardise(raw.value(), t.parameter(mean).value(), t.parameter(factor).value(),
                            static_cast<typename B::scalar>(limit), out);
    return t.constant(out);
  }
};

}  // namespace vierbein::graph
