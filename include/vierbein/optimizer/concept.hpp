// What an optimiser must offer.
//
// An optimiser is a plain aggregate of hyper-parameters, such as `adam{.learning_rate = 1e-3}`.
// What it remembers from step to step is its `state`, made when the parameters are known:
//
//     struct my_optimizer {
//       double learning_rate = 1e-3;
//       void validate() const;                  // throws vierbein::error for an unusable option
//       template <Backend B>
//       class state;
//     };
//     template <Backend B>
//     class my_optimizer::state {
//      public:
//       state(const my_optimizer& options, const B& backend, index_t size);
//       void step(array_view<scalar, space> theta, array_view<const scalar, space> gradient,
//                 double scale, double rate_factor, std::span<const range> trainable);
//     };
//
// `size` is the length of θ. `step` multiplies the gradient by `scale` (for clipping) and the
// learning rate by `rate_factor` (from a schedule), and touches θ only within the ranges
// `trainable`: neither decay nor momentum moves what lies outside. Padding, which is zero and has
// gradient zero, stays zero. A state may be moved but not copied.
#pragma once

#include <concepts>
#include <span>

#include "vierbein/backend/concept.hpp"
#include "vierbein/core/arena.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/parameters.hpp"

namespace vierbein {

/// See the head of this file.
template <class O, class B>
concept Optimizer =
    Backend<B> && std::move_constructible<typename O::template state<B>> &&
    std::constructible_from<typename O::template state<B>, const O&, const B&, index_t> &&
    requires(const O& options, typename O::template state<B>& state, backend::array_of<B> theta,
             array_view<const typename B::scalar, typename B::space> gradient,
             std::span<const range> trainable) {
      { options.learning_rate } -> std::convertible_to<double>;
      options.validate();
      state.step(theta, gradient, 1.0, 1.0, trainable);
    };

namespace optimizer {

/// Throws unless θ and the gradient have the length for which the state was made and the ranges lie
/// within it.
inline void require_lengths(const char* optimizer, index_t size, index_t theta, index_t gradient,
                            std::span<const range> trainable) {
  require(theta == size && gradient == size, optimizer,
          "made for {} parameters, but given {} of them and a gradient of {}", size, theta,
          gradient);
  for (const range& r : trainable) {
    require(r.offset >= 0 && r.size >= 0 && r.offset + r.size <= size, optimizer,
            "range [{}, {}) lies outside the {} parameters", r.offset, r.offset + r.size, size);
  }
}

/// Memory of backend B for `size` scalars, all zero, from `memory`.
template <Backend B>
[[nodiscard]] backend::array_of<B> zeros(const B& backend, arena<typename B::memory>& memory,
                                         index_t size) {
  auto* first = memory.template allocate<typename B::scalar>(size);
  backend.fill(backend::matrix_of<B>(first, 1, size), typename B::scalar{0});
  return {first, size};
}

}  // namespace optimizer
}  // namespace vierbein
