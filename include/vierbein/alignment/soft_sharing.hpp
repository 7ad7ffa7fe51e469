// Task modules that stay close to each other.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// coefficient · Σ over pairs of Σ_p MSE(p_s, p_t) over the parameter segments p of the tasks'
/// latent encoders E_t, the weight and the bias of each layer: one mean a segment, so that a bias
/// counts as much as a large weight matrix. L2 soft sharing (Duong et al. 2015). When a task is
/// added there is no partner to train, and the loss is absent. Throws for a coefficient that is
/// negative or not finite.
struct soft_sharing {
  double coefficient = 1;
  pair_scaling scaling = pair_scaling::average;

  static constexpr const char* kind = "soft_sharing";
  static constexpr latent_space needs = latent_space::latent;
  [[nodiscard]] index_t copies() const { return 0; }
  void validate() const {
    require_not_negative(coefficient, "coefficient", "alignment::soft_sharing");
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (coefficient == 0 || v.tasks() < 2) {
      return {};
    }
    using B = typename Views::backend_type;
    typename Views::var total{};
    for (index_t layer = 0; layer < v.latent_parameters(); ++layer) {
      auto stacked = v.tape().template host_array<typename Views::var>(v.tasks());
      for (index_t t = 0; t < v.tasks(); ++t) {
        stacked[static_cast<std::size_t>(t)] = v.latent_parameter(t, layer);
      }
      const auto all = graph::concatenate_rows<B>(stacked);
      const auto part = detail::pair_spread(v, pair_set{}, scaling, all, v.tasks());
      total = total ? total + part : part;
    }
    return total ? scaled(coefficient, total) : total;
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
    visit("scaling", scaling);
  }
};

}  // namespace vierbein::alignment
