// Random operations. Their numbers depend on the step's stream alone, so a repeated step repeats
// them.
#pragma once

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct dropout_op {
  using scalar = typename B::scalar;
  var<B> x;
  scalar p;
  random_stream stream;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().dropout(x.value(), p, stream, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().dropout(dy, p, stream, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct add_normal_op {
  using scalar = typename B::scalar;
  var<B> x;
  scalar sigma;
  random_stream stream;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().add_normal(x.value(), sigma, stream, out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().copy(1, dy, d.view, d.accumulate);
    }
  }
};

}  // namespace detail

/// Dropout (Srivastava et al. 2014): each element is 0 with probability p, else x / (1 - p). The
/// identity in evaluation mode and for p = 0.
template <Backend B>
var<B> dropout(var<B> x, double p) {
  require(p >= 0 && p < 1, "dropout", "expected a probability in [0, 1), found {}", p);
  tape<B>& t = *x.owner;
  if (!t.training() || p == 0) {
    return x;
  }
  return t.record(x.rows(), x.cols(), {x},
                  detail::dropout_op<B>{x, static_cast<typename B::scalar>(p), t.next_stream()});
}

/// x + sigma ε, ε standard normal.
template <Backend B>
var<B> add_normal(var<B> x, double sigma) {
  tape<B>& t = *x.owner;
  return t.record(
      x.rows(), x.cols(), {x},
      detail::add_normal_op<B>{x, static_cast<typename B::scalar>(sigma), t.next_stream()});
}

}  // namespace vierbein::graph
