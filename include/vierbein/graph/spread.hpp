// Squared distances between the stacked matrices of several tasks.
#pragma once

#include <array>
#include <utility>

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct group_spread_op {
  using scalar = typename B::scalar;
  var<B> x;
  index_t groups;
  scalar scale;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().group_spread(x.value(), groups, scale, out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().group_spread_backward(x.value(), groups, scale, dy, d.view, d.accumulate);
    }
  }
};

}  // namespace detail

/// scale Σ_{s<t} ‖x_s - x_t‖² over all pairs of the `groups` matrices stacked in x, in O(groups):
/// the sum equals groups · Σ_t ‖x_t - x̄‖² exactly, x̄ their mean.
template <Backend B>
var<B> group_spread(var<B> x, index_t groups, double scale) {
  require(groups > 0 && x.rows() % groups == 0, "group_spread", "{} rows in {} groups", x.rows(),
          groups);
  return x.owner->record(
      1, 1, {x}, detail::group_spread_op<B>{x, groups, static_cast<typename B::scalar>(scale)});
}

}  // namespace vierbein::graph
