// The transfer into the flat frame can be undone.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// coefficient · Σ_t MSE(z_t, F⁻¹_t(F_t(z_t))): keeps the transfer F_t invertible (GATE: Ko et al.,
/// ICLR 2024). Throws for a coefficient that is negative or not finite.
struct autoencoding {
  double coefficient = 1;

  static constexpr const char* kind = "autoencoding";
  static constexpr latent_space needs = latent_space::flat;
  [[nodiscard]] index_t copies() const { return 0; }
  void validate() const {
    require_not_negative(coefficient, "coefficient", "alignment::autoencoding");
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (coefficient == 0) {
      return {};
    }
    const auto z = v.latent();
    const auto back = v.decode(v.flat(), v.all_tasks());
    // The mean over the stacked tasks is 1/N of the sum of the tasks' means.
    return scaled(coefficient * static_cast<double>(v.tasks()), graph::mean_squared_error(z, back));
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
  }
};

}  // namespace vierbein::alignment
