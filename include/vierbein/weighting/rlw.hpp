// Random weights.
#pragma once

#include <cstdint>

#include "vierbein/core/random.hpp"
#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/tools.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// Random loss weighting (Lin, Ye, Zhang and Tsang 2022): in each step
///     z ~ N(0, I_T),  w = softmax(z),
/// so Σ w_t = 1, as in TorchJD and LibMTL. The numbers of a step are those of (seed, step, task)
/// alone and begin again with `reset`; an absent task gets 0 and the others share what is left.
struct rlw {
  using weighting_kind = loss_based;
  static constexpr bool uses_losses = false;

  std::uint64_t seed = 0;

  std::uint64_t step = 0;  ///< steps since `reset`

  [[nodiscard]] weighting_traits traits() const {
    return {.linear_under_scaling = true,
            .strongly_stationary = true,
            .convex_weights = true,
            .deterministic = false,
            .stateful = true,
            .homogeneity = 1,
            .scale = weight_scale::mean};
  }

  void reset(std::size_t /*tasks*/) { step = 0; }

  void weigh(losses l, weights w) {
    const random_stream numbers = random_stream{seed, name_hash("weighting::rlw")}.fork(step++);
    for (std::size_t t = 0; t < w.size(); ++t) {
      w[t] = numbers.normal(t);
    }
    softmax(l, w);
  }
};

}  // namespace vierbein::weighting
