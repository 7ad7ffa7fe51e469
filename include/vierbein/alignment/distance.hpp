// The tasks agree on how far apart neighbouring inputs are.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// coefficient · Σ over pairs of mean_k MSE(‖u_s - u_s⁽ᵏ⁾‖, ‖u_t - u_t⁽ᵏ⁾‖) over `perturbations`
/// copies b⁽ᵏ⁾ = b + ε of each input's representation (GATE: Ko et al., ICLR 2024): the same local
/// metric for all tasks. ε is normal with `scale` times the root mean square of b (the paper leaves
/// the scale open; a relative one is our choice). Norms are √(‖·‖² + epsilon). Without copies the
/// loss is absent.
///
/// Throws for a coefficient or scale that is negative or not finite, for negative `perturbations`,
/// for an epsilon below 1e-30 (there the gradient of a norm threatens to be 0 / 0 in float) or not
/// finite, and for pairs with both a target and a list.
struct distance {
  double coefficient = 1;
  index_t perturbations = 1;
  double scale = 0.1;
  double epsilon = 1e-6;
  pair_set pairs{};
  pair_scaling scaling = pair_scaling::average;

  static constexpr const char* kind = "distance";
  static constexpr latent_space needs = latent_space::flat;
  [[nodiscard]] index_t copies() const { return coefficient == 0 ? 0 : perturbations; }
  void validate() const {
    require_not_negative(coefficient, "coefficient", "alignment::distance");
    require(perturbations >= 0, "alignment::distance",
            "perturbations must not be negative, but is {}", perturbations);
    require_not_negative(scale, "scale", "alignment::distance");
    require_at_least(1e-30, epsilon, "epsilon", "alignment::distance");
    pairs.validate("alignment::distance");
  }
  [[nodiscard]] double perturbation_scale() const { return scale; }
  [[nodiscard]] double norm_epsilon() const { return epsilon; }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (copies() == 0) {
      return {};
    }
    using B = typename Views::backend_type;
    auto d = v.copy_distances(epsilon);
    index_t blocks = v.tasks();
    if (v.anchored()) {
      const typename Views::var parts[] = {d, v.anchor_distances()};
      d = graph::concatenate_rows<B>(parts);
      ++blocks;
    }
    return scaled(coefficient, detail::pair_spread(v, pairs, scaling, d, blocks));
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
    visit("perturbations", perturbations);
    visit("scale", scale);
    visit("epsilon", epsilon);
    visit("pairs", pairs);
    visit("scaling", scaling);
  }
};

}  // namespace vierbein::alignment
