// Yes or no.
#pragma once

#include "vierbein/head/concept.hpp"

namespace vierbein::head {

/// Predicts the probability of label 1 against 0; cross-entropy of a logit.
struct binary {
  static constexpr const char* kind = "binary";
  static constexpr bool standardise = false;
  [[nodiscard]] index_t outputs() const { return 1; }
  [[nodiscard]] index_t label_width() const { return 1; }

  template <Backend B>
  graph::var<B> loss(graph::var<B> prediction, graph::var<B> label) const {
    return graph::masked_loss(backend::loss_kind::logistic, prediction, label);
  }
  void transform(std::span<double> p) const { p[0] = backend::formula::sigmoid(p[0]); }
  /// See head/concept.hpp: a probability of one half counts as 1.
  [[nodiscard]] double hits(std::span<const double> raw, std::span<const double> label) const {
    return (raw[0] >= 0) == (label[0] > 0.5) && !std::isnan(label[0]) ? 1 : 0;
  }
  [[nodiscard]] bool valid(double label) const { return label == 0 || label == 1; }
  [[nodiscard]] const char* accepts() const { return "0 or 1"; }

  template <class Visitor>
  void options(Visitor&&) {}
};

}  // namespace vierbein::head
