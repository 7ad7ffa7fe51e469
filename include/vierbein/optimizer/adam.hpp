// Adam.
#pragma once

#include <cmath>
#include <limits>

#include "vierbein/optimizer/concept.hpp"

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
    constexpr double unbounded = std::numeric_limits<double>::infinity();
    require_option("adam", "learning_rate", learning_rate, 0, unbounded);
    require_option("adam", "beta1", beta1, 0, 1);
    require_option("adam", "beta2", beta2, 0, 1);
    require_option("adam", "epsilon", epsilon, 1e-30, unbounded);
  }

  template <Backend B>
  class state;
};

template <Backend B>
class adam::state {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  state(const adam& options, const B& backend, index_t size)
      : options_((options.validate(), options)),
        backend_(backend),
        size_(size),
        first_moment_(zeros(backend_, memory_, size)),
        second_moment_(zeros(backend_, memory_, size)) {}

  /// See optimizer/concept.hpp.
  void step(array_view<scalar, space> theta, array_view<const scalar, space> gradient, double scale,
            double rate_factor, std::span<const range> trainable) {
    require_lengths("adam", size_, theta.size, gradient.size, trainable);
    ++steps_;
    const auto t = static_cast<double>(steps_);
    const backend::adam_coefficients k{.learning_rate = options_.learning_rate * rate_factor,
                                       .beta1 = options_.beta1,
                                       .beta2 = options_.beta2,
                                       .epsilon = options_.epsilon,
                                       .decay = 0,
                                       .correction1 = 1 - std::pow(options_.beta1, t),
                                       .correction2 = 1 - std::pow(options_.beta2, t)};
    for (const range& r : trainable) {
      backend_.adam_step(theta.range(r.offset, r.size), gradient.range(r.offset, r.size),
                         static_cast<scalar>(scale), first_moment_.range(r.offset, r.size),
                         second_moment_.range(r.offset, r.size), k);
    }
  }

 private:
  adam options_;
  B backend_;
  index_t size_;
  index_t steps_ = 0;
  arena<typename B::memory> memory_;
  array_view<scalar, space> first_moment_;
  array_view<scalar, space> second_moment_;
};

}  // namespace vierbein::optimizer
