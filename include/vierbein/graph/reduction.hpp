// Sums, means and norms.
#pragma once

#include "vierbein/graph/elementwise.hpp"
#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct sum_op {
  using scalar = typename B::scalar;
  var<B> x;
  scalar scale;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().sum(x.value(), scale, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().broadcast_scalar(dy, scale, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct column_sums_op {
  var<B> x;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().column_sums(x.value(), out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().broadcast_row(dy, 1, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct row_sums_op {
  var<B> x;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().row_sums(x.value(), 1, out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().broadcast_column(dy, 1, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct row_norms_op {
  using scalar = typename B::scalar;
  var<B> x;
  scalar epsilon;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().row_norms(x.value(), epsilon, out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B> y, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().row_norms_backward(x.value(), y, dy, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct weighted_sum_op {
  std::span<const var<B>> terms;
  std::span<const double> weights;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().fill(out, 0);
    for (std::size_t i = 0; i < terms.size(); ++i) {
      t.backend().copy(static_cast<typename B::scalar>(weights[i]), terms[i].value(), out, true);
    }
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    for (std::size_t i = 0; i < terms.size(); ++i) {
      if (const auto d = t.gradient(terms[i], slab)) {
        t.backend().copy(static_cast<typename B::scalar>(weights[i]), dy, d.view, d.accumulate);
      }
    }
  }
};

}  // namespace detail

/// Sum and mean of all elements, (1, 1).
template <Backend B>
var<B> sum(var<B> x) {
  return x.owner->record(1, 1, {x}, detail::sum_op<B>{x, 1});
}
template <Backend B>
var<B> mean(var<B> x) {
  using scalar = typename B::scalar;
  return x.owner->record(1, 1, {x},
                         detail::sum_op<B>{x, scalar{1} / static_cast<scalar>(x.value().size())});
}

/// Sums over the rows, (1, cols), and over the columns, (rows, 1).
template <Backend B>
var<B> column_sums(var<B> x) {
  return x.owner->record(1, x.cols(), {x}, detail::column_sums_op<B>{x});
}
template <Backend B>
var<B> row_sums(var<B> x) {
  return x.owner->record(x.rows(), 1, {x}, detail::row_sums_op<B>{x});
}

/// sqrt(‖x_r‖² + epsilon) of every row, (rows, 1). A positive epsilon keeps the gradient finite at
/// 0.
template <Backend B>
var<B> row_norms(var<B> x, double epsilon = 1e-12) {
  return x.owner->record(x.rows(), 1, {x},
                         detail::row_norms_op<B>{x, static_cast<typename B::scalar>(epsilon)});
}

/// Mean of (x - y)² over all elements, (1, 1).
template <Backend B>
var<B> mean_squared_error(var<B> x, var<B> y) {
  return mean(square(x - y));
}

/// Σ_i weights[i] terms[i] of matrices of one shape.
template <Backend B>
var<B> weighted_sum(std::span<const var<B>> terms, std::span<const double> weights) {
  require(!terms.empty() && terms.size() == weights.size(), "weighted_sum",
          "{} weights for {} terms", weights.size(), terms.size());
  for (const var<B>& x : terms) {
    require(x.rows() == terms[0].rows() && x.cols() == terms[0].cols(), "weighted_sum",
            "{} x {} does not match {} x {}", x.rows(), x.cols(), terms[0].rows(), terms[0].cols());
  }
  tape<B>& t = *terms[0].owner;
  return t.record(terms[0].rows(), terms[0].cols(), terms,
                  detail::weighted_sum_op<B>{t.template host_array<var<B>>(terms),
                                             t.template host_array<double>(weights)});
}

}  // namespace vierbein::graph
