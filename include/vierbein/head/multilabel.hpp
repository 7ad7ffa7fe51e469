// Several yes-or-no questions at once.
#pragma once

#include "vierbein/core/error.hpp"
#include "vierbein/head/concept.hpp"

namespace vierbein::head {

/// Predicts the probability of each of `labels` labels, each 0, 1 or missing; mean cross-entropy.
/// Throws for less than one label.
struct multilabel {
  index_t labels = 2;

  static constexpr const char* kind = "multilabel";
  static constexpr bool standardise = false;
  [[nodiscard]] index_t outputs() const { return labels; }
  [[nodiscard]] index_t label_width() const { return labels; }
  void validate() const {
    require(labels >= 1, "head::multilabel", "labels must be at least 1, but is {}", labels);
  }

  template <Backend B>
  graph::var<B> loss(graph::var<B> prediction, graph::var<B> label) const {
    return graph::masked_loss(backend::loss_kind::logistic, prediction, label);
  }
  void transform(std::span<double> p) const {
    for (double& v : p) {
      v = backend::formula::sigmoid(v);
    }
  }
  /// See head/concept.hpp: a probability of one half counts as 1.
  [[nodiscard]] double hits(std::span<const double> raw, std::span<const double> label) const {
    double right = 0;
    for (std::size_t i = 0; i < label.size(); ++i) {
      right += !std::isnan(label[i]) && (raw[i] >= 0) == (label[i] > 0.5) ? 1 : 0;
    }
    return right;
  }
  [[nodiscard]] bool valid(double label) const { return label == 0 || label == 1; }
  [[nodiscard]] const char* accepts() const { return "0 or 1"; }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("labels", labels);
  }
};

}  // namespace vierbein::head
