// Several alignment losses together.
#pragma once

#include <algorithm>
#include <string>
#include <tuple>

#include "vierbein/alignment/concept.hpp"

namespace vierbein::alignment {

/// The sum of alignment losses of any kinds: `alignment::sum{alignment::coral{},
/// alignment::soft_sharing{}}`. The sum of none is no alignment. Throws for what a part throws for.
template <AlignmentLoss... Parts>
struct sum {
  std::tuple<Parts...> parts;

  sum() = default;
  explicit sum(Parts... p)
    requires(sizeof...(Parts) > 0)
      : parts(std::move(p)...) {}

  static constexpr const char* kind = "sum";
  static constexpr latent_space needs = std::max({latent_space::none, Parts::needs...});
  [[nodiscard]] index_t copies() const {
    return std::apply(
        [](const auto&... p) { return std::max({index_t{0}, index_t{p.copies()}...}); }, parts);
  }
  void validate() const {
    std::apply(
        [](const auto&... p) {
          [[maybe_unused]] const auto check = [](const auto& part) {
            if constexpr (requires { part.validate(); }) {
              part.validate();
            }
          };
          (check(p), ...);
        },
        parts);
  }
  /// One set of perturbed copies serves all parts: the largest scale and epsilon among them.
  [[nodiscard]] double perturbation_scale() const {
    return largest([](const auto& part) {
      if constexpr (requires { part.perturbation_scale(); }) {
        return part.perturbation_scale();
      } else {
        return 0.0;
      }
    });
  }
  [[nodiscard]] double norm_epsilon() const {
    return largest([](const auto& part) {
      if constexpr (requires { part.norm_epsilon(); }) {
        return part.norm_epsilon();
      } else {
        return 0.0;
      }
    });
  }

  template <class Views>
  typename Views::var operator()(Views& v) const {
    typename Views::var total{};
    std::apply(
        [&](const auto&... p) {
          [[maybe_unused]] const auto add = [&](auto loss) {
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
          [[maybe_unused]] int i = 0;
          (visit("part" + std::to_string(i++), p), ...);
        },
        parts);
  }

 private:
  template <class F>
  [[nodiscard]] double largest(F&& of) const {
    return std::apply([&](const auto&... p) { return std::max({0.0, of(p)...}); }, parts);
  }
};

}  // namespace vierbein::alignment
