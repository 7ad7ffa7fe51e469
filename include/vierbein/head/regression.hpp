// One real number.
#pragma once

#include <array>
#include <cmath>

#include "vierbein/core/error.hpp"
#include "vierbein/head/concept.hpp"

namespace vierbein::head {

/// How a prediction p differs from a label y: (p - y)², |p - y|, or Huber's function of p - y.
enum class deviation { squared, absolute, huber };
constexpr auto option_names(deviation) {
  return std::array{"squared", "absolute", "huber"};
}

/// Predicts one real number; labels are standardised on the training rows. Throws for a huber_delta
/// that is not positive and finite.
struct regression {
  head::deviation deviation = head::deviation::squared;
  double huber_delta = 1;  ///< in units of the labels' standard deviation

  static constexpr const char* kind = "regression";
  static constexpr bool standardise = true;
  [[nodiscard]] index_t outputs() const { return 1; }
  [[nodiscard]] index_t label_width() const { return 1; }
  void validate() const { require_positive(huber_delta, "huber_delta", "head::regression"); }

  template <Backend B>
  graph::var<B> loss(graph::var<B> prediction, graph::var<B> label) const {
    using enum backend::loss_kind;
    const auto k = deviation == head::deviation::squared    ? squared
                   : deviation == head::deviation::absolute ? absolute
                                                            : huber;
    return graph::masked_loss(k, prediction, label, huber_delta);
  }
  void transform(std::span<double>) const {}
  [[nodiscard]] bool valid(double label) const { return std::isfinite(label); }
  [[nodiscard]] const char* accepts() const { return "a finite number"; }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("deviation", deviation);
    visit("huber_delta", huber_delta);
  }
};

}  // namespace vierbein::head
