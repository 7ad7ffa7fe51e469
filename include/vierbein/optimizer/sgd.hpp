// Stochastic gradient descent with momentum.
#pragma once

#include "vierbein/optimizer/concept.hpp"

namespace vierbein::optimizer {

/// Gradient descent: u ← momentum u + (g + weight_decay θ), θ ← θ - learning_rate u, where u begins
/// as zero; with Nesterov's acceleration θ ← θ - learning_rate (g + weight_decay θ + momentum u)
/// (Polyak 1964; Nesterov 1983, in the form of Sutskever et al. 2013).
struct sgd {
  double learning_rate = 1e-2;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;  ///< added to the gradient as weight_decay θ

  /// Throws unless learning_rate ≥ 0, 0 ≤ momentum < 1, weight_decay ≥ 0; Nesterov's acceleration
  /// needs a momentum.
  void validate() const {
    require_not_negative(learning_rate, "learning_rate", "sgd");
    require_within(0, 1, momentum, "momentum", "sgd");
    require_not_negative(weight_decay, "weight_decay", "sgd");
    require(!nesterov || momentum > 0, "sgd", "nesterov needs a momentum greater than 0");
  }

  template <Backend B>
  class state;
};

template <Backend B>
class sgd::state {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  state(const sgd& options, const B& backend, index_t size)
      : options_((options.validate(), options)),
        backend_(backend),
        size_(size),
        velocity_(zeros(backend_, memory_, size)) {}

  /// See optimizer/concept.hpp.
  void step(array_view<scalar, space> theta, array_view<const scalar, space> gradient, double scale,
            double rate_factor, std::span<const range> trainable) {
    require_lengths("sgd", size_, theta.size, gradient.size, trainable);
    const backend::sgd_coefficients k{.learning_rate = options_.learning_rate * rate_factor,
                                      .momentum = options_.momentum,
                                      .decay = options_.weight_decay,
                                      .nesterov = options_.nesterov};
    for (const range& r : trainable) {
      backend_.sgd_step(theta.range(r.offset, r.size), gradient.range(r.offset, r.size),
                        static_cast<scalar>(scale), velocity_.range(r.offset, r.size), k);
    }
  }

 private:
  sgd options_;
  B backend_;
  index_t size_;
  arena<typename B::memory> memory_;
  array_view<scalar, space> velocity_;
};

}  // namespace vierbein::optimizer
