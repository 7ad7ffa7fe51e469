// Affine layers, one or many at once, fused with their activation.
#pragma once

#include <algorithm>
#include <functional>

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

// A group of affine layers whose outputs are stacked: y_t = act(x_t w_t + 1 b_t [+ addend_t]).
template <Backend B>
struct affine_op {
  using tape_type = tape<B>;
  using view = typename tape_type::view;
  using const_view = typename tape_type::const_view;
  using product = backend::product<typename B::scalar, typename B::space>;
  using layer = backend::affine_layer<typename B::scalar, typename B::space>;

  var<B> x;                   // (n, in) for all, or (groups n, in) stacked
  std::span<const var<B>> w;  // each (in, out)
  std::span<const var<B>> b;  // each (1, out); empty for none
  var<B> addend;              // (groups n, out) or none
  activation act;
  bool by_task;
  view argument{};

  [[nodiscard]] index_t fan_out() const { return by_task ? groups() : 0; }
  [[nodiscard]] index_t groups() const { return static_cast<index_t>(w.size()); }

  [[nodiscard]] const_view input(index_t t, index_t n) const {
    return x.rows() == n ? x.value() : x.value().row_range(t * n, n);
  }

  void forward(tape_type& tape, view y) {
    const index_t n = y.rows / groups();
    if (backend::formula::derivative_needs_argument(act)) {
      argument = tape.make(y.rows, y.cols);
    }
    auto layers = tape.template host_array<layer>(groups());
    for (index_t t = 0; t < groups(); ++t) {
      const auto k = static_cast<std::size_t>(t);
      layers[k] = {input(t, n),
                   w[k].value(),
                   b.empty() ? const_view{} : b[k].value(),
                   addend ? addend.value().row_range(t * n, n) : const_view{},
                   argument.data != nullptr ? argument.row_range(t * n, n) : view{},
                   y.row_range(t * n, n)};
    }
    tape.backend().affine(layers, act);
  }

  void backward_all(tape_type& tape, const_view y, const_view dy, index_t first, index_t last) {
    const B& backend = tape.backend();
    const index_t slabs = last - first;
    const index_t n = y.rows / groups();
    const_view dz = dy;
    if (act != activation::identity) {
      const view fresh = tape.make(dy.rows, dy.cols);
      for (index_t s = 0; s < slabs; ++s) {
        backend.activation_backward(act, argument.data != nullptr ? const_view(argument) : y,
                                    dy.row_range(s * y.rows, y.rows),
                                    fresh.row_range(s * y.rows, y.rows));
      }
      dz = fresh;
    }
    const auto part = [&](index_t s, index_t t) { return dz.row_range(s * y.rows + t * n, n); };

    if (tape.wants_gradient(addend) && tape.is_parameter(addend)) {
      for (index_t s = 0; s < slabs; ++s) {
        const auto d = tape.gradient(addend, first + s);
        backend.copy(1, dz.row_range(s * y.rows, y.rows), d.view, d.accumulate);
      }
    } else if (tape.wants_gradient(addend)) {
      const auto d = tape.stacked_gradient(addend, first, last);
      backend.copy(1, dz, d.view, d.accumulate);
    }
    auto products = tape.template host_array<product>(slabs * groups());
    if (tape.wants_gradient(x) && tape.is_parameter(x)) {
      for (index_t s = 0; s < slabs; ++s) {
        const auto d = tape.gradient_to_add(x, first + s);
        for (index_t t = 0; t < groups(); ++t) {
          const product one{part(s, t), w[static_cast<std::size_t>(t)].value(),
                            x.rows() == n ? d.view : d.view.row_range(t * n, n)};
          backend.multiply(backend::transposition::nt, {&one, 1}, true);
        }
      }
    } else if (tape.wants_gradient(x) && !tape.parting().empty()) {
      part_tasks(tape, dz, n);
    } else if (tape.wants_gradient(x)) {
      const auto d = tape.stacked_gradient(x, first, last);
      if (groups() == 1) {  // all slabs in one product
        const product all{dz, w[0].value(), d.view};
        backend.multiply(backend::transposition::nt, {&all, 1}, d.accumulate);
      } else {
        const bool shared = x.rows() == n;
        std::size_t i = 0;
        for (index_t s = 0; s < slabs; ++s) {
          for (index_t t = 0; t < groups(); ++t) {
            products[i++] = {part(s, t), w[static_cast<std::size_t>(t)].value(),
                             d.view.row_range(s * x.rows() + (shared ? 0 : t * n), n)};
          }
        }
        backend.multiply(backend::transposition::nt, products, d.accumulate);
      }
    }
    std::size_t count = 0;
    for (index_t t = 0; t < groups(); ++t) {
      const var<B> weight = w[static_cast<std::size_t>(t)];
      if (tape.takes_factors(weight)) {
        tape.add_factor(weight, input(t, n), part(0, t), y.size(), first, last);
      }
    }
    for (index_t s = 0; s < slabs; ++s) {
      for (index_t t = 0; t < groups(); ++t) {
        const auto k = static_cast<std::size_t>(t);
        if (tape.wants_gradient(w[k]) && !tape.takes_factors(w[k])) {
          const auto d = tape.gradient_to_add(w[k], first + s);
          products[count++] = {input(t, n), part(s, t), d.view};
        }
        if (!b.empty()) {
          if (const auto d = tape.gradient_to_add(b[k], first + s)) {
            backend.column_sums(part(s, t), d.view, true);
          }
        }
      }
    }
    // A layer may occur several times in the group: products with one destination must be adjacent.
    std::sort(products.begin(), products.begin() + static_cast<std::ptrdiff_t>(count),
              [](const product& p, const product& q) {
                return p.c.data != q.c.data ? std::less<>{}(p.c.data, q.c.data)
                                            : std::less<>{}(p.b.data, q.b.data);
              });
    backend.multiply(backend::transposition::tn, products.first(count), true);
  }

  // One slab holds the cotangents of all tasks, a block each: into their own slabs of x.
  void part_tasks(tape_type& tape, const_view dz, index_t n) const {
    const auto slab_of = tape.parting();
    const auto slabs =
        std::count_if(slab_of.begin(), slab_of.end(), [](index_t s) { return s >= 0; });
    const auto d = tape.stacked_gradient(x, 0, slabs);
    auto products = tape.template host_array<product>(slabs);
    std::size_t i = 0;
    for (std::size_t t = 0; t < slab_of.size(); ++t) {
      if (slab_of[t] >= 0) {
        products[i++] = {dz.row_range(static_cast<index_t>(t) * n, n), w[t].value(),
                         d.view.row_range(slab_of[t] * n, n)};
      }
    }
    tape.backend().multiply(backend::transposition::nt, products, d.accumulate);
  }
};

}  // namespace detail

namespace detail {

template <Backend B>
var<B> record_affine(var<B> x, std::span<const var<B>> w, std::span<const var<B>> b, activation act,
                     var<B> addend, index_t rows, bool by_task = false) {
  tape<B>& tape = *x.owner;
  const index_t out = w[0].cols();
  for (const var<B>& one : w) {
    require(x.cols() == one.rows(), "affine", "the input has {} columns, the weight {} rows",
            x.cols(), one.rows());
    require(one.cols() == out, "affine", "weights with {} and {} columns in one group", out,
            one.cols());
  }
  require(b.empty() || b.size() == w.size(), "affine", "{} biases for {} weights", b.size(),
          w.size());
  for (const var<B>& one : b) {
    require(one.rows() == 1 && one.cols() == out, "affine", "the bias is {} x {}, expected 1 x {}",
            one.rows(), one.cols(), out);
  }
  require(!addend || (addend.rows() == rows && addend.cols() == out), "affine",
          "the addend is {} x {}, expected {} x {}", addend ? addend.rows() : 0,
          addend ? addend.cols() : 0, rows, out);
  const affine_op<B> op{
      x,      tape.template host_array<var<B>>(w), tape.template host_array<var<B>>(b), addend, act,
      by_task};
  auto inputs = tape.template host_array<var<B>>(static_cast<index_t>(2 + w.size() + b.size()));
  auto end = std::copy(w.begin(), w.end(), inputs.begin());
  end = std::copy(b.begin(), b.end(), end);
  *end++ = x;
  if (addend) {
    *end++ = addend;
  }
  return tape.record(rows, out, std::span<const var<B>>(inputs.begin(), end), op);
}

}  // namespace detail

/// One affine layer: y = act(x w + 1 b [+ addend]). x (n, in), w (in, out), b (1, out) or none,
/// addend (n, out) or none.
template <Backend B>
var<B> affine(var<B> x, var<B> w, var<B> b, activation act = activation::identity,
              var<B> addend = {}) {
  return detail::record_affine<B>(x, {&w, 1}, {&b, b ? 1U : 0U}, act, addend, x.rows());
}

/// Many affine layers of one shape on the same input: y_t = act(x w_t + 1 b_t), the y_t stacked to
/// (groups · n, out). `b` may be empty. `by_task` promises that y_t serves task t alone.
template <Backend B>
var<B> affine_shared(var<B> x, std::span<const var<B>> w, std::span<const var<B>> b,
                     activation act = activation::identity, bool by_task = false) {
  require(!w.empty(), "affine_shared", "no layers");
  return detail::record_affine<B>(x, w, b, act, {}, x.rows() * static_cast<index_t>(w.size()),
                                  by_task);
}

/// Many affine layers of one shape, each on its own rows: x (groups · n, in) and y (groups · n,
/// out) are stacked. `b` may be empty.
template <Backend B>
var<B> affine_stacked(var<B> x, std::span<const var<B>> w, std::span<const var<B>> b,
                      activation act = activation::identity) {
  require(!w.empty(), "affine_stacked", "no layers");
  require(x.rows() % static_cast<index_t>(w.size()) == 0, "affine_stacked",
          "{} rows are not divisible among {} layers", x.rows(), w.size());
  return detail::record_affine<B>(x, w, b, act, {}, x.rows());
}

}  // namespace vierbein::graph
