// The Geometrically Aligned Transfer Encoder: its four losses together.
#pragma once

#include "vierbein/alignment/autoencoding.hpp"
#include "vierbein/alignment/consistency.hpp"
#include "vierbein/alignment/distance.hpp"
#include "vierbein/alignment/mapping.hpp"

namespace vierbein::alignment {

/// GATE (Ko et al., ICLR 2024; several tasks: Ko et al. 2024, arXiv 2405.01974): tasks share the
/// trunk, each owns a latent space, and a learned transfer takes it to a locally flat frame common
/// to all. The loss added to the tasks' own is
///     α Σ_t autoencoding + β Σ consistency + γ Σ mapping + δ Σ distance,
/// each a policy of its own that may be left out (coefficient 0) or replaced (alignment::sum).
/// Throws for what one of them throws for.
struct gate {
  alignment::autoencoding autoencoding{};
  alignment::consistency consistency{};
  alignment::mapping mapping{};
  alignment::distance distance{};

  static constexpr const char* kind = "gate";
  static constexpr latent_space needs = latent_space::flat;
  [[nodiscard]] index_t copies() const { return distance.copies(); }
  void validate() const {
    autoencoding.validate();
    consistency.validate();
    mapping.validate();
    distance.validate();
  }
  [[nodiscard]] double perturbation_scale() const { return distance.perturbation_scale(); }
  [[nodiscard]] double norm_epsilon() const { return distance.norm_epsilon(); }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    typename Views::var total{};
    for (const auto& loss : {autoencoding(v), consistency(v), mapping(v), distance(v)}) {
      total = total && loss ? total + loss : (loss ? loss : total);
    }
    return total;
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("autoencoding", autoencoding);
    visit("consistency", consistency);
    visit("mapping", mapping);
    visit("distance", distance);
  }

  /// The same with all four coefficients multiplied by `factor`.
  [[nodiscard]] gate scaled_by(double factor) const {
    gate g = *this;
    g.autoencoding.coefficient *= factor;
    g.consistency.coefficient *= factor;
    g.mapping.coefficient *= factor;
    g.distance.coefficient *= factor;
    return g;
  }
};

}  // namespace vierbein::alignment
