// One of several classes.
#pragma once

#include <algorithm>
#include <cmath>

#include "vierbein/core/error.hpp"
#include "vierbein/head/concept.hpp"

namespace vierbein::head {

/// Predicts the probabilities of `classes` classes; softmax and cross-entropy. A label is a class
/// number from 0. Throws for fewer than two classes.
struct multiclass {
  index_t classes = 2;

  static constexpr const char* kind = "multiclass";
  static constexpr bool standardise = false;
  [[nodiscard]] index_t outputs() const { return classes; }
  [[nodiscard]] index_t label_width() const { return 1; }
  void validate() const {
    require(classes >= 2, "head::multiclass", "classes must be at least 2, but is {}", classes);
  }

  template <Backend B>
  graph::var<B> loss(graph::var<B> prediction, graph::var<B> label) const {
    return graph::masked_loss(backend::loss_kind::softmax, prediction, label);
  }
  void transform(std::span<double> p) const {
    const double largest = *std::max_element(p.begin(), p.end());
    double total = 0;
    for (double& v : p) {
      v = std::exp(v - largest);
      total += v;
    }
    for (double& v : p) {
      v /= total;
    }
  }
  /// See head/concept.hpp: of equally probable classes the first one counts.
  [[nodiscard]] double hits(std::span<const double> raw, std::span<const double> label) const {
    const auto best = std::max_element(raw.begin(), raw.end()) - raw.begin();
    return static_cast<double>(best) == label[0] ? 1 : 0;
  }
  [[nodiscard]] bool valid(double label) const {
    return label >= 0 && label < static_cast<double>(classes) && label == std::floor(label);
  }
  [[nodiscard]] const char* accepts() const {
    return "a class number from 0 to below the number of classes";
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("classes", classes);
  }
};

}  // namespace vierbein::head
