// Products of two computed matrices.
#pragma once

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct product_op {
  using product = backend::product<typename B::scalar, typename B::space>;
  using transposition = backend::transposition;
  var<B> a, b;
  transposition kind;

  void forward(tape<B>& t, backend::matrix_of<B> c) const {
    const product p{a.value(), b.value(), c};
    t.backend().multiply(kind, {&p, 1}, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dc,
                index_t slab) const {
    using enum backend::transposition;
    const auto add = [&](transposition how, auto left, auto right, auto to) {
      const product p{left, right, to.view};
      t.backend().multiply(how, {&p, 1}, to.accumulate);
    };
    if (const auto d = t.gradient(a, slab)) {
      switch (kind) {
        case nn: add(nt, dc, b.value(), d); break;  // dA = dC Bᵀ
        case nt: add(nn, dc, b.value(), d); break;  // dA = dC B
        case tn: add(nt, b.value(), dc, d); break;  // dA = B dCᵀ
      }
    }
    if (const auto d = t.gradient(b, slab)) {
      switch (kind) {
        case nn: add(tn, a.value(), dc, d); break;  // dB = Aᵀ dC
        case nt: add(tn, dc, a.value(), d); break;  // dB = dCᵀ A
        case tn: add(nn, a.value(), dc, d); break;  // dB = A dC
      }
    }
  }
};

}  // namespace detail

/// C = A B (nn), A Bᵀ (nt) or Aᵀ B (tn).
template <Backend B>
var<B> product(var<B> a, var<B> b, backend::transposition kind = backend::transposition::nn) {
  using enum backend::transposition;
  const index_t inner_a = kind == tn ? a.rows() : a.cols();
  const index_t inner_b = kind == nt ? b.cols() : b.rows();
  require(inner_a == inner_b, "product", "inner sizes {} and {} differ", inner_a, inner_b);
  return a.owner->record(kind == tn ? a.cols() : a.rows(), kind == nt ? b.rows() : b.cols(), {a, b},
                         detail::product_op<B>{a, b, kind});
}

}  // namespace vierbein::graph
