// Adam with decoupled weight decay.
#pragma once

#include "vierbein/optimizer/moments.hpp"

namespace vierbein::optimizer {

/// AdamW (Loshchilov and Hutter 2019): Adam's step plus a decay of its own,
///     m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,
///     θ ← θ - learning_rate (m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + epsilon) + weight_decay θ),
/// where t counts the steps and m, v begin as zero. The schedule's factor scales both terms.
struct adamw {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;  ///< each step shrinks θ by the factor 1 - learning_rate weight_decay

  /// Throws unless learning_rate ≥ 0, 0 ≤ β < 1, epsilon ≥ 1e-30 (below that, 0 / 0 threatens in
  /// float) and 0 ≤ learning_rate weight_decay < 1.
  void validate() const {
    require_not_negative(learning_rate, "learning_rate", "adamw");
    require_within(0, 1, beta1, "beta1", "adamw");
    require_within(0, 1, beta2, "beta2", "adamw");
    require_at_least(1e-30, epsilon, "epsilon", "adamw");
    require_not_negative(weight_decay, "weight_decay", "adamw");
    require_within(0, 1, learning_rate * weight_decay, "learning_rate * weight_decay", "adamw");
  }

  template <Backend B>
  class state;
};

template <Backend B>
class adamw::state : public moments<B> {
 public:
  state(const adamw& o, const B& backend, index_t size)
      : moments<B>("adamw",
                   {.learning_rate = (o.validate(), o.learning_rate),
                    .beta1 = o.beta1,
                    .beta2 = o.beta2,
                    .epsilon = o.epsilon,
                    .decay = o.weight_decay},
                   backend, size) {}
};

}  // namespace vierbein::optimizer
