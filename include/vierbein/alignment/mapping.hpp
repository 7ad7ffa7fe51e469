// A task's head understands the other tasks' latent points.
#pragma once

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// coefficient · Σ over ordered pairs s → t of the loss of H_t(F⁻¹_t(u_s)) against t's labels
/// (GATE: Ko et al., ICLR 2024). With `sources` = 0 every target is mapped from all its partners,
/// stacked into one group of products: O(N²) rows. With `sources` = k > 0 each step draws k
/// partners for every target, an unbiased estimate in O(N) (our addition, and the default). Of one
/// target or a list of pairs every pair is taken in each step. Throws for a coefficient that is
/// negative or not finite, for negative `sources`, and for pairs with both a target and a list.
struct mapping {
  double coefficient = 1;
  index_t sources = 1;
  pair_set pairs{};
  pair_scaling scaling = pair_scaling::average;

  static constexpr const char* kind = "mapping";
  static constexpr latent_space needs = latent_space::flat;
  [[nodiscard]] index_t copies() const { return 0; }
  void validate() const {
    require_not_negative(coefficient, "coefficient", "alignment::mapping");
    require(sources >= 0, "alignment::mapping", "sources must not be negative, but is {}", sources);
    pairs.validate("alignment::mapping");
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    if (coefficient == 0) {
      return {};
    }
    using B = typename Views::backend_type;
    auto& tape = v.tape();
    const index_t partners = v.anchored() ? v.source_count() : v.tasks() - 1;
    if (partners < 1) {
      return {};
    }
    const index_t rounds = sources == 0 ? partners : std::min(sources, partners);
    std::span<index_t> from;
    std::span<index_t> to;
    if (!v.anchored() && !pairs.all()) {
      const auto list = detail::ordered_pairs(v, pairs);
      from = tape.template host_array<index_t>(static_cast<index_t>(list.size()));
      to = tape.template host_array<index_t>(static_cast<index_t>(list.size()));
      for (std::size_t i = 0; i < list.size(); ++i) {
        from[i] = list[i].source;
        to[i] = list[i].target;
      }
    } else {
      // In round r the partner of task t is the one r places further on, so every source is used
      // once.
      from = tape.template host_array<index_t>(rounds * v.tasks());
      to = tape.template host_array<index_t>(rounds * v.tasks());
      const auto start =
          static_cast<index_t>(tape.next_stream().uniform(0) * static_cast<double>(partners));
      std::size_t i = 0;
      for (index_t t = 0; t < v.tasks(); ++t) {
        for (index_t r = 0; r < rounds; ++r) {
          const index_t step = (start + r) % partners;
          from[i] = v.anchored() ? step : (t + 1 + step) % v.tasks();
          to[i++] = t;
        }
      }
    }
    const auto losses = v.head_losses(v.decode(v.source_flat(), to, from), to);
    const auto n = static_cast<double>(v.anchored() ? 1 : v.tasks());
    const double terms = static_cast<double>(from.size());
    double weight = n / terms;  // the mean over partners, summed over targets
    if (scaling == pair_scaling::sum) {
      weight = v.anchored() || pairs.all() ? n * static_cast<double>(partners) / terms : 1;
    }
    auto weights = tape.template host_array<double>(static_cast<index_t>(from.size()));
    std::fill(weights.begin(), weights.end(), coefficient * weight);
    return graph::weighted_sum<B>(losses, weights);
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    visit("coefficient", coefficient);
    visit("sources", sources);
    visit("pairs", pairs);
    visit("scaling", scaling);
  }
};

}  // namespace vierbein::alignment
