// The tasks' latent spaces have the same covariance.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// CORAL (Sun and Saenko 2016): coefficient · Σ over pairs of ‖C_s - C_t‖²_F / (4 d²), C_t = Z̄_tᵀ
/// Z̄_t / (n - 1) the covariance of the task's latent points over the batch, Z̄_t the centred z_t (n,
/// d). All pairs cost O(N). Absent when a task is added alone. Throws for a coefficient that is
/// negative or not finite.
struct coral {
  double coefficient = 1;
  pair_scaling scaling = pair_scaling::average;

  static constexpr const char* kind = "coral";
  static constexpr latent_space needs = latent_space::latent;
  [[nodiscard]] index_t copies() const { return 0; }
  void validate() const { require_not_negative(coefficient, "coefficient", "alignment::coral"); }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (coefficient == 0 || v.tasks() < 2 || v.rows() < 2) {
      return {};
    }
    using B = typename Views::backend_type;
    const auto z = v.latent();
    const auto n = static_cast<double>(v.rows());
    auto covariances = v.tape().template host_array<typename Views::var>(v.tasks());
    for (index_t t = 0; t < v.tasks(); ++t) {
      const auto zt = graph::slice_rows(z, t * v.rows(), v.rows());
      const auto centred = zt - graph::broadcast_row((1 / n) * graph::column_sums(zt), v.rows());
      covariances[static_cast<std::size_t>(t)] =
          (1 / (n - 1)) * graph::product(centred, centred, backend::transposition::tn);
    }
    // pair_spread means over the d² elements: 1 / (4 d²) of the sum is a quarter of it.
    return scaled(coefficient / 4,
                  detail::pair_spread(v, pair_set{}, scaling,
                                      graph::concatenate_rows<B>(covariances), v.tasks()));
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
    visit("scaling", scaling);
  }
};

}  // namespace vierbein::alignment
