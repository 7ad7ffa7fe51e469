// Standardised inputs: (x - mean) / deviation, with statistics of the training rows kept among the
// parameters, frozen.
#pragma once

#include <cmath>
#include <limits>
#include <string>

#include "vierbein/core/matrix.hpp"
#include "vierbein/graph/elementwise.hpp"

namespace vierbein::graph {

/// Columns of mean 0 and deviation 1 on the training rows. A column that is constant there is set
/// to 0 everywhere: nothing can be learnt from it. Values beyond ±`limit` deviations are clipped on
/// the host, so that an unheard-of input cannot swamp a prediction.
struct input_scaling {
  segment_id mean = -1;
  segment_id factor = -1;  ///< 1 / deviation, or 0

  static constexpr double limit = 10;
  static constexpr double sparse_share = 0.75;

  template <Scalar T>
  static input_scaling make(parameters<T>& theta, const std::string& name, index_t width) {
    const input_scaling made{theta.add(name + "/mean", 1, width, initialiser::zeros),
                             theta.add(name + "/factor", 1, width, initialiser::ones)};
    theta.freeze(name + "/");
    return made;
  }

  template <Scalar T>
  void fit(parameters<T>& theta, const matrix<double>& x, std::span<const index_t> rows) const {
    const auto n = static_cast<double>(rows.size());
    for (index_t c = 0; c < x.cols(); ++c) {
      theta.view(mean)(0, c) = T{0};
      theta.view(factor)(0, c) = T{1};
      double total = 0;
      double zeros = 0;
      for (const index_t r : rows) {
        total += x(r, c);
        zeros += x(r, c) == 0 ? 1 : 0;
      }
      const double centre = total / n;
      double squares = 0;
      for (const index_t r : rows) {
        squares += (x(r, c) - centre) * (x(r, c) - centre);
      }
      const double deviation = std::sqrt(squares / n);
      const bool constant = !(deviation > 1e-10 * (std::abs(centre) + 1e-300));
      if (!constant && zeros > sparse_share * n) {
        continue;  // mean 0, factor 1
      }
      theta.view(mean)(0, c) = static_cast<T>(centre);
      theta.view(factor)(0, c) = constant ? T{0} : static_cast<T>(1 / deviation);
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
