// Layer and batch normalisation.
#pragma once

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

// What both normalisations share: y = normalised gain + bias.
template <Backend B>
struct normalisation_op {
  using scalar = typename B::scalar;
  var<B> x, gain, bias;
  bool by_rows;
  backend::matrix_of<B> normalised, spread;
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    const B& b = t.backend();
    if (const auto d = t.gradient(x, slab)) {
      if (by_rows) {
        b.layer_norm_backward(dy, normalised, spread, gain.value(), d.view, d.accumulate);
      } else {
        b.batch_norm_backward(dy, normalised, spread, gain.value(), d.view, d.accumulate);
      }
    }
    if (const auto d = t.gradient(gain, slab)) {
      b.column_dots(dy, normalised, d.view, d.accumulate);
    }
    if (const auto d = t.gradient(bias, slab)) {
      b.column_sums(dy, d.view, d.accumulate);
    }
  }
};

// Batch norm with fixed statistics: an affine map of each column.
template <Backend B>
struct fixed_norm_op {
  var<B> x, gain, bias, mean, variance;
  typename B::scalar epsilon;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().normalise_columns(x.value(), mean.value(), variance.value(), gain.value(),
                                  bias.value(), epsilon, out);
  }
  void backward(tape<B>&, backend::const_matrix_of<B>, backend::const_matrix_of<B>, index_t) const {
    throw error("batch_norm", "no gradient is defined in evaluation mode");
  }
};

template <Backend B>
void require_row(const char* place, const char* name, var<B> row, index_t cols) {
  require(row.rows() == 1 && row.cols() == cols, place, "the {} is {} x {}, expected 1 x {}", name,
          row.rows(), row.cols(), cols);
}

}  // namespace detail

/// Layer normalisation (Ba, Kiros, Hinton 2016): y = (x - mean) / sqrt(var + epsilon) gain + bias,
/// mean and variance over each row. x (n, d); gain, bias (1, d).
template <Backend B>
var<B> layer_norm(var<B> x, var<B> gain, var<B> bias, double epsilon = 1e-5) {
  tape<B>& t = *x.owner;
  detail::require_row("layer_norm", "gain", gain, x.cols());
  detail::require_row("layer_norm", "bias", bias, x.cols());
  const auto normalised = t.make(x.rows(), x.cols());
  const auto spread = t.make(x.rows(), 1);
  const auto y = t.make(x.rows(), x.cols());
  t.backend().layer_norm(x.value(), gain.value(), bias.value(),
                         static_cast<typename B::scalar>(epsilon), normalised, spread, y);
  return t.record_view(y, {x, gain, bias},
                       detail::normalisation_op<B>{x, gain, bias, true, normalised, spread});
}

/// Batch normalisation (Ioffe and Szegedy 2015): like layer_norm with mean and variance of each
/// column over the batch. `mean` and `variance` (1, d) are the running statistics, frozen
/// parameters that move by `momentum` in training mode and are used instead of the batch's in
/// evaluation mode.
template <Backend B>
var<B> batch_norm(var<B> x, var<B> gain, var<B> bias, var<B> mean, var<B> variance,
                  double momentum = 0.1, double epsilon = 1e-5) {
  using scalar = typename B::scalar;
  tape<B>& t = *x.owner;
  detail::require_row("batch_norm", "gain", gain, x.cols());
  detail::require_row("batch_norm", "bias", bias, x.cols());
  detail::require_row("batch_norm", "running mean", mean, x.cols());
  detail::require_row("batch_norm", "running variance", variance, x.cols());
  const auto small = static_cast<scalar>(epsilon);
  if (!t.training()) {
    return t.record(x.rows(), x.cols(), {x},
                    detail::fixed_norm_op<B>{x, gain, bias, mean, variance, small});
  }
  const auto normalised = t.make(x.rows(), x.cols());
  const auto spread = t.make(1, x.cols());
  const auto y = t.make(x.rows(), x.cols());
  t.backend().batch_norm(x.value(), gain.value(), bias.value(), small,
                         static_cast<scalar>(momentum), t.writable(mean), t.writable(variance),
                         normalised, spread, y);
  return t.record_view(y, {x, gain, bias},
                       detail::normalisation_op<B>{x, gain, bias, false, normalised, spread});
}

}  // namespace vierbein::graph
