// Compares the tape's gradient with central differences, in double.
#pragma once

#include <cmath>
#include <string>

#include "vierbein/backend/reference.hpp"
#include "vierbein/graph/tape.hpp"

namespace vierbein::testing {

/// The worst disagreement found, and where.
struct gradient_report {
  double worst = 0;   ///< |numeric - swept| / max(1, |numeric|, |swept|)
  std::string where;  ///< segment and element
  double numeric = 0;
  double swept = 0;
  explicit operator bool() const { return worst < 1e-6; }
};

/// Checks ∂loss/∂θ for every element of every segment that is not frozen. `loss(tape)` records a
/// computation on parameters (`tape.parameter(id)`) and returns a 1 x 1 value; it must be the same
/// function at every call. The difference quotient's step is `step`.
template <Backend B = backend::reference_double, class F>
  requires std::same_as<typename B::scalar, double> && std::same_as<typename B::space, host_space>
gradient_report check_gradient(parameters<double>& theta, F&& loss, const B& backend = B{},
                               double step = 1e-6) {
  graph::tape<B> tape(backend);
  tape.bind(theta.segments(), theta.values());
  const random_stream stream{17, 4};
  const auto value = [&] {
    tape.begin(graph::mode::training, stream);
    return tape.read(loss(tape));
  };
  tape.begin(graph::mode::training, stream);
  aligned_vector<double> gradient(static_cast<std::size_t>(theta.size()));
  tape.backward(loss(tape), array_view<double>{gradient.data(), theta.size()});

  gradient_report report;
  for (const segment& s : theta.segments()) {
    for (index_t i = 0; i < s.size() && !s.frozen; ++i) {
      double& x = theta.values()[s.offset + i];
      const double before = x;
      x = before + step;
      const double above = value();
      x = before - step;
      const double below = value();
      x = before;
      const double numeric = (above - below) / (2 * step);
      const double swept = gradient[static_cast<std::size_t>(s.offset + i)];
      const double scale = std::max({1.0, std::abs(numeric), std::abs(swept)});
      const double difference = std::abs(numeric - swept) / scale;
      // A difference that is not a number is the worst there is, and stays so.
      if (!std::isnan(report.worst) && !(difference <= report.worst)) {
        report = {difference, s.name + "[" + std::to_string(i) + "]", numeric, swept};
      }
    }
  }
  return report;
}

}  // namespace vierbein::testing
