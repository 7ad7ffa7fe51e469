// The steps of Adam and AdamW, which differ in the decay alone.
#pragma once

#include <cmath>
#include <span>

#include "vierbein/optimizer/concept.hpp"

namespace vierbein::optimizer {

/// The moments m and v of the gradient, and the step that they make:
///     m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,
///     θ ← (1 - learning_rate decay) θ
///         - learning_rate m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + epsilon).
template <Backend B>
class moments {
 public:
  using scalar = typename B::scalar;
  using space = typename B::space;

  /// `name` is the optimiser's, for errors.
  moments(const char* name, const backend::adam_coefficients& options, const B& backend,
          index_t size)
      : name_(name),
        options_(options),
        backend_(backend),
        size_(size),
        first_(zeros(backend_, memory_, size)),
        second_(zeros(backend_, memory_, size)) {}

  /// See optimizer/concept.hpp.
  void step(array_view<scalar, space> theta, array_view<const scalar, space> gradient, double scale,
            double rate_factor, std::span<const range> trainable) {
    require_lengths(name_, size_, theta.size, gradient.size, trainable);
    ++steps_;
    const auto t = static_cast<double>(steps_);
    backend::adam_coefficients k = options_;
    k.learning_rate *= rate_factor;
    k.correction1 = 1 - std::pow(k.beta1, t);
    k.correction2 = 1 - std::pow(k.beta2, t);
    for (const range& r : trainable) {
      backend_.adam_step(theta.range(r.offset, r.size), gradient.range(r.offset, r.size),
                         static_cast<scalar>(scale), first_.range(r.offset, r.size),
                         second_.range(r.offset, r.size), k);
    }
  }

 private:
  const char* name_;
  backend::adam_coefficients options_;
  B backend_;
  index_t size_;
  index_t steps_ = 0;
  arena<typename B::memory> memory_;
  array_view<scalar, space> first_;
  array_view<scalar, space> second_;
};

}  // namespace vierbein::optimizer
