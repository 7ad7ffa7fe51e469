// Element-wise operations, and their broadcasts over rows and columns.
#pragma once

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct unary_op {
  using scalar = typename B::scalar;
  var<B> x;
  backend::unary f;
  scalar a;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().unary(f, a, x.value(), out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B> y, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().unary_backward(f, a, x.value(), y, dy, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct activate_op {
  var<B> x;
  activation act;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().activate(act, x.value(), out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B> y, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      const auto dz = d.accumulate ? t.make(y.rows, y.cols) : d.view;
      t.backend().activation_backward(
          act, backend::formula::derivative_needs_argument(act) ? x.value() : y, dy, dz);
      if (d.accumulate) {
        t.backend().copy(1, dz, d.view, true);
      }
    }
  }
};

template <Backend B>
struct binary_op {
  var<B> x, y;
  backend::binary f;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().binary(f, x.value(), y.value(), out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B> out, backend::const_matrix_of<B> dy,
                index_t slab) const {
    using enum backend::binary;
    const B& b = t.backend();
    if (const auto d = t.gradient(x, slab)) {
      switch (f) {
        case add:
        case subtract: b.copy(1, dy, d.view, d.accumulate); break;
        case multiply: b.multiply_add(1, dy, y.value(), d.view, d.accumulate); break;
        case divide: b.divide_backward(dy, out, y.value(), true, d.view, d.accumulate); break;
      }
    }
    if (const auto d = t.gradient(y, slab)) {
      switch (f) {
        case add: b.copy(1, dy, d.view, d.accumulate); break;
        case subtract: b.copy(-1, dy, d.view, d.accumulate); break;
        case multiply: b.multiply_add(1, dy, x.value(), d.view, d.accumulate); break;
        case divide: b.divide_backward(dy, out, y.value(), false, d.view, d.accumulate); break;
      }
    }
  }
};

template <Backend B>
struct broadcast_row_op {
  var<B> row;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().broadcast_row(row.value(), 1, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(row, slab)) {
      t.backend().column_sums(dy, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct broadcast_column_op {
  var<B> column;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().broadcast_column(column.value(), 1, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(column, slab)) {
      const auto sums = t.make(dy.rows, 1);
      t.backend().row_sums(dy, 1, sums);
      t.backend().copy(1, sums, d.view, d.accumulate);
    }
  }
};

template <Backend B>
var<B> unary(backend::unary f, double a, var<B> x) {
  return x.owner->record(x.rows(), x.cols(), {x},
                         unary_op<B>{x, f, static_cast<typename B::scalar>(a)});
}

template <Backend B>
var<B> binary(backend::binary f, const char* name, var<B> x, var<B> y) {
  require(x.rows() == y.rows() && x.cols() == y.cols(), name, "{} x {} does not match {} x {}",
          x.rows(), x.cols(), y.rows(), y.cols());
  return x.owner->record(x.rows(), x.cols(), {x, y}, binary_op<B>{x, y, f});
}

}  // namespace detail

/// x + y, x - y, x ∘ y, x / y, element by element; the shapes must be equal.
template <Backend B>
var<B> operator+(var<B> x, var<B> y) {
  return detail::binary(backend::binary::add, "addition", x, y);
}
template <Backend B>
var<B> operator-(var<B> x, var<B> y) {
  return detail::binary(backend::binary::subtract, "subtraction", x, y);
}
template <Backend B>
var<B> operator*(var<B> x, var<B> y) {
  return detail::binary(backend::binary::multiply, "multiplication", x, y);
}
template <Backend B>
var<B> operator/(var<B> x, var<B> y) {
  return detail::binary(backend::binary::divide, "division", x, y);
}

/// a x and x + a with a constant a.
template <Backend B>
var<B> operator*(double a, var<B> x) {
  return detail::unary(backend::unary::scale, a, x);
}
template <Backend B>
var<B> operator+(var<B> x, double a) {
  return detail::unary(backend::unary::shift, a, x);
}

/// x², |x|, e^x, ln x, ln(1 + e^x), 1 / (1 + e^-x), sqrt(x + epsilon), element by element.
template <Backend B>
var<B> square(var<B> x) {
  return detail::unary(backend::unary::square, 0, x);
}
template <Backend B>
var<B> abs(var<B> x) {
  return detail::unary(backend::unary::absolute, 0, x);
}
template <Backend B>
var<B> exp(var<B> x) {
  return detail::unary(backend::unary::exponential, 0, x);
}
template <Backend B>
var<B> log(var<B> x) {
  return detail::unary(backend::unary::logarithm, 0, x);
}
template <Backend B>
var<B> softplus(var<B> x) {
  return detail::unary(backend::unary::softplus, 0, x);
}
template <Backend B>
var<B> sigmoid(var<B> x) {
  return detail::unary(backend::unary::sigmoid, 0, x);
}
template <Backend B>
var<B> sqrt(var<B> x, double epsilon = 0) {
  return detail::unary(backend::unary::root, epsilon, x);
}

/// act(x), element by element; inside an affine layer the fused form is cheaper.
template <Backend B>
var<B> activate(var<B> x, activation act) {
  return x.owner->record(x.rows(), x.cols(), {x}, detail::activate_op<B>{x, act});
}

/// A row (1, d) repeated to (rows, d).
template <Backend B>
var<B> broadcast_row(var<B> row, index_t rows) {
  require(row.rows() == 1, "broadcast_row", "expected one row, found {}", row.rows());
  return row.owner->record(rows, row.cols(), {row}, detail::broadcast_row_op<B>{row});
}

/// A column (n, 1) repeated to (n, cols).
template <Backend B>
var<B> broadcast_column(var<B> column, index_t cols) {
  require(column.cols() == 1, "broadcast_column", "expected one column, found {}", column.cols());
  return column.owner->record(column.rows(), cols, {column},
                              detail::broadcast_column_op<B>{column});
}

/// x with its gradient stopped: a constant of the same value.
template <Backend B>
var<B> stop_gradient(var<B> x) {
  return x.owner->constant(x.value());
}

}  // namespace vierbein::graph
