// What a solver says about its own answer.
#pragma once

#include <cstddef>
#include <limits>

namespace vierbein::weighting::solver {

/// How far an answer is from optimal, measured and not promised.
struct certificate {
  /// By how much the conditions that characterise the solution are violated, relative to the size
  /// of what enters them: free of any unit. Each solver says which conditions.
  double residual = 0;
  std::size_t iterations = 0;
  bool converged = true;
};

/// The relative precision of the entries of a Gramian that was summed in double: what a solver
/// assumes where it is not told another one.
inline constexpr double double_precision = std::numeric_limits<double>::epsilon();

}  // namespace vierbein::weighting::solver
