// Gradients are turned towards each other, as far as they usually are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/random.hpp"
#include "vierbein/weighting/combinations.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/present_tasks.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// GradVac, the gradient vaccine (Wang, Tsvetkov, Firat and Cao 2021). For each task i, x = g_i;
/// then for the other tasks j in a random order, with φ = cos(x, g_j),
///     x ← x + a g_j   where φ < φ̂_ij, such that the cosine becomes φ̂_ij (combination::vaccinate);
///     φ̂_ij ← (1 - β) φ̂_ij + β φ,   at first 0;
/// d is the sum of these x. The first call is PCGrad. β = 0.5, as TorchJD and LibMTL; the paper has
/// 1e-2. Whole gradients are compared; for groups of parameters see the group-wise decorator.
///
/// The orders are a function of `seed` and of the number of calls since `reset`. Pairs with an
/// absent task keep φ̂. Peers add 1e-8 to lengths, here it is added to a sine, so that no unit
/// matters.
struct gradvac {
  using weighting_kind = gram_based;

  double beta = 0.5;
  std::uint64_t seed = 0;

  present_tasks tasks = {};
  combination changed = {};
  random_order order = {};
  std::vector<double> aims = {};  ///< (T, T) φ̂
  std::uint64_t steps = 0;        ///< since `reset`

  static gradvac libmtl() { return {.beta = 0.5}; }
  static gradvac torchjd() { return {.beta = 0.5}; }

  [[nodiscard]] weighting_traits traits() const {
    return {.deterministic = false, .stateful = true, .homogeneity = 1, .scale = weight_scale::sum};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require_options();
    tasks.begin(names);
    begin(names.size());
  }

  void weigh(losses l, gram_matrix g, weights w) {
    require_options();
    if (aims.empty()) {
      begin(l.size());
    }
    const std::size_t count = l.size();
    require(aims.size() == count * count, "weighting::gradvac",
            "made for another number of tasks than {}; call reset", count);
    const random_stream stream = random_stream{seed, name_hash("weighting::gradvac")}.fork(steps++);
    tasks.weigh(l, g, w, "weighting::gradvac",
                [&](std::span<const double> loss, gram_matrix gram, weights out) {
                  for (std::size_t i = 0; i < loss.size(); ++i) {
                    changed.begin(gram, i, tasks.precision());
                    for (const std::size_t j : order.draw(loss.size(), stream.fork(tasks[i]))) {
                      if (j != i) {
                        double& aim = aims[tasks[i] * count + tasks[j]];
                        const double phi = changed.vaccinate(j, aim);
                        aim = (1 - beta) * aim + beta * phi;
                      }
                    }
                    for (std::size_t t = 0; t < out.size(); ++t) {
                      out[t] += changed.coefficients()[t];
                    }
                  }
                });
  }

 private:
  void require_options() const {
    require(beta >= 0 && beta <= 1, "weighting::gradvac", "beta must be in [0, 1], but is {}",
            beta);
  }

  void begin(std::size_t count) {
    aims.assign(count * count, 0.0);
    steps = 0;
  }
};

}  // namespace vierbein::weighting
