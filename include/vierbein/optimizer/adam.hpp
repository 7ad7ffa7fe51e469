// Adam.
#pragma once

#include "vierbein/optimizer/moments.hpp"

namespace vierbein::optimizer {

/// Adam (Kingma and Ba 2015):
///     m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,
///     θ ← θ - learning_rate m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + epsilon),
/// where t counts the steps and m, v begin as zero.
struct adam {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;

  /// Throws unless learning_rate ≥ 0, 0 ≤ β < 1 and epsilon ≥ 1e-30 (below that, 0 / 0 threatens in
  /// float).
  void validate() const {
    require_not_negative(learning_rate, "learning_rate", "adam");
    require_within(0, 1, beta1, "beta1", "adam");
    require_within(0, 1, beta2, "beta2", "adam");
    require_at_least(1e-30, epsilon, "epsilon", "adam");
  }

  template <Backend B>
  class state;
};

template <Backend B>
class adam::state : public moments<B> {
 public:
  state(const adam& o, const B& backend, index_t size)
      : moments<B>("adam",
                   {.learning_rate = (o.validate(), o.learning_rate),
                    .beta1 = o.beta1,
                    .beta2 = o.beta2,
                    .epsilon = o.epsilon,
                    .decay = 0},
                   backend, size) {}
};

}  // namespace vierbein::optimizer
