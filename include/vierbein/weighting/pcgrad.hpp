// Every gradient loses what points against another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/random.hpp"
#include "vierbein/weighting/combinations.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// PCGrad, projecting conflicting gradients (Yu, Kumar, Gupta, Levine, Hausman and Finn 2020). For
/// each task i, x = g_i; then for the other tasks j in a random order
///     x ← x - (x · g_j / ‖g_j‖²) g_j   where x · g_j < 0;
/// d is the sum of these x, of the scale of T gradients. On the Gramian, O(T³). For T = 2 it is
/// UPGrad with preferences of 1 and harms no task; for T > 2 it may.
///
/// The orders are a function of `seed` and of the number of calls since `reset`. The peers divide
/// by ‖g_j‖² + 1e-8 or not at all; here a gradient that is 0 changes nothing and nothing is added.
struct pcgrad {
  using weighting_kind = gram_based;

  std::uint64_t seed = 0;

  present_tasks tasks = {};
  combination changed = {};
  random_order order = {};
  std::uint64_t steps = 0;  ///< since `reset`

  [[nodiscard]] weighting_traits traits() const {
    return {.linear_under_scaling = true,
            .deterministic = false,
            .stateful = true,
            .homogeneity = 1,
            .scale = weight_scale::sum};
  }

  /// Begins again, with the orders of the first step.
  void reset(const std::vector<std::string>& names) {
    tasks.begin(names);
    steps = 0;
  }

  void weigh(losses l, gram_matrix g, weights w) {
    const random_stream stream = random_stream{seed, name_hash("weighting::pcgrad")}.fork(steps++);
    tasks.weigh(l, g, w, "weighting::pcgrad",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  for (std::size_t i = 0; i < loss.size(); ++i) {
                    changed.begin(gram, i);
                    for (const std::size_t j : order.draw(loss.size(), stream.fork(tasks[i]))) {
                      if (j != i) {
                        changed.remove_conflict(j);
                      }
                    }
                    for (std::size_t t = 0; t < out.size(); ++t) {
                      out[t] += changed.coefficients()[t];
                    }
                  }
                });
  }
};

}  // namespace vierbein::weighting
