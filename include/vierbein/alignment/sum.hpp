// Several alignment losses together.
#pragma once

#include <algorithm>
#include <string>
#include <tuple>

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// The sum of alignment losses of any kinds: `alignment::sum{alignment::coral{},
/// alignment::soft_sharing{}}`.
template <AlignmentLoss... Parts>
struct sum {
  std::tuple<Parts...> parts;

  sum() = default;
  explicit sum(Parts... p) : parts(std::move(p)...) {}

  static constexpr const char* kind = "sum";
  static constexpr latent_space needs = std::max({latent_space::none, Parts::needs...});
  [[nodiscard]] index_t copies() const {
    return std::apply(
        [](const auto&... p) { return std::max({index_t{0}, index_t{p.copies()}...}); }, parts);
  }
  [[nodiscard]] double perturbation_scale() const {
    double scale = 0;
    std::apply(
        [&](const auto&... p) {
          const auto look = [&](const auto& part) {
            if constexpr (requires { part.perturbation_scale(); }) {
              scale = std::max(scale, part.perturbation_scale());
            }
          };
          (look(p), ...);
        },
        parts);
    return scale;
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    typename Views::var total{};
    std::apply(
        [&](const auto&... p) {
          const auto add = [&](auto loss) {
            total = total && loss ? total + loss : (loss ? loss : total);
          };
          (add(p(v)), ...);
        },
        parts);
    return total;
  }
  template <class Visitor>
  void options(Visitor&& visit) {
    std::apply(
        [&](auto&... p) {
          int i = 0;
          (visit("part" + std::to_string(i++), p), ...);
        },
        parts);
  }
};

}  // namespace vierbein::alignment
