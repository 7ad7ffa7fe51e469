// One input, one point of the flat frame.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// coefficient · Σ over pairs of MSE(u_s, u_t) on the same inputs (GATE: Ko et al., ICLR 2024). All
/// pairs cost O(N): see graph::group_spread. For the scaling of pairs see pair_scaling. Throws for
/// a coefficient that is negative or not finite, and for pairs with both a target and a list.
struct consistency {
  double coefficient = 1;
  pair_set pairs{};
  pair_scaling scaling = pair_scaling::average;

  static constexpr const char* kind = "consistency";
  static constexpr latent_space needs = latent_space::flat;
  [[nodiscard]] index_t copies() const { return 0; }
  void validate() const {
    require_not_negative(coefficient, "coefficient", "alignment::consistency");
    pairs.validate("alignment::consistency");
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (coefficient == 0) {
      return {};
    }
    auto u = v.flat();
    index_t blocks = v.tasks();
    if (v.anchored()) {
      const typename Views::var parts[] = {u, v.anchor_flat()};
      u = graph::concatenate_rows<typename Views::backend_type>(parts);
      ++blocks;
    }
    return scaled(coefficient, detail::pair_spread(v, pairs, scaling, u, blocks));
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
    visit("pairs", pairs);
    visit("scaling", scaling);
  }
};

}  // namespace vierbein::alignment
