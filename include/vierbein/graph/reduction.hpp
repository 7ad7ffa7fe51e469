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
struct copy_distances_op {
  using scalar = typename B::scalar;
  var<B> x;
  index_t n, copies;
  scalar epsilon;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().copy_distances(x.value(), n, copies, epsilon, out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B> y, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().copy_distances_backward(x.value(), n, copies, y, dy, d.view, d.accumulate);
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

/// x holds groups of 1 + copies blocks of n rows: a block and its copies. The result (groups ·
/// copies · n, 1) has sqrt(‖x_i - y_i‖² + epsilon) for every row y_i of a copy and the row x_i that
/// it is a copy of, copy by copy. A positive epsilon keeps the gradient finite where they are
/// equal.
template <Backend B>
var<B> copy_distances(var<B> x, index_t n, index_t copies, double epsilon = 1e-12) {
  require(n >= 0 && copies > 0 && (n > 0 ? x.rows() % (n * (1 + copies)) == 0 : x.rows() == 0),
          "copy_distances", "{} rows are not groups of {} blocks of {}", x.rows(), 1 + copies, n);
  return x.owner->record(
      x.rows() / (1 + copies) * copies, 1, {x},
      detail::copy_distances_op<B>{x, n, copies, static_cast<typename B::scalar>(epsilon)});
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
