// Losses against labels that may be missing, and what a loss of the user's own needs for them.
#pragma once

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct loss_op {
  using scalar = typename B::scalar;
  backend::loss_kind kind;
  scalar delta;
  var<B> prediction;
  backend::const_matrix_of<B> label, statistics;
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(prediction, slab)) {
      t.backend().loss_backward(kind, delta, prediction.value(), label, statistics, dy, d.view,
                                d.accumulate);
    }
  }
};

}  // namespace detail

/// Mean loss over the labels that are present; a missing label is NaN. Without any label it is 0,
/// and so is its gradient. prediction (n, k), label (n, k), or (n, 1) with a class number for
/// `softmax`. `delta` is the width of Huber's quadratic part.
template <Backend B>
var<B> masked_loss(backend::loss_kind kind, var<B> prediction, var<B> label, double delta = 1) {
  tape<B>& t = *prediction.owner;
  const index_t width = kind == backend::loss_kind::softmax ? 1 : prediction.cols();
  require(label.rows() == prediction.rows() && label.cols() == width, "masked_loss",
          "labels are {} x {}, expected {} x {}", label.rows(), label.cols(), prediction.rows(),
          width);
  const auto statistics = t.make(1, 2);
  const auto d = static_cast<typename B::scalar>(delta);
  t.backend().loss(kind, d, prediction.value(), label.value(), statistics);
  return t.record_view(statistics.col_range(0, 1), {prediction},
                       detail::loss_op<B>{kind, d, prediction, label.value(), statistics});
}

/// 1 where a label is present, 0 where it is missing (NaN): a constant of the label's shape,
/// without gradient.
template <Backend B>
var<B> label_mask(var<B> label) {
  tape<B>& t = *label.owner;
  const auto mask = t.make(label.rows(), label.cols());
  t.backend().label_mask(label.value(), mask);
  return t.constant(mask);
}

/// The labels with `value` for those that are missing (NaN): a constant, without gradient. A NaN
/// would remain NaN when multiplied by the 0 of a mask.
template <Backend B>
var<B> fill_missing(var<B> label, double value) {
  tape<B>& t = *label.owner;
  const auto filled = t.make(label.rows(), label.cols());
  t.backend().fill_missing(label.value(), static_cast<typename B::scalar>(value), filled);
  return t.constant(filled);
}

}  // namespace vierbein::graph
