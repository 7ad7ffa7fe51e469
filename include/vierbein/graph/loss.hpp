// Losses against labels that may be missing.
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

}  // namespace vierbein::graph
