// Operations that move rows and columns: slices, concatenation, gathers, segment sums, messages.
#pragma once

#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct slice_op {
  var<B> x;
  index_t first_row, first_col;
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient_to_add(x, slab)) {
      t.backend().copy(1, dy, d.view.row_range(first_row, dy.rows).col_range(first_col, dy.cols),
                       true);
    }
  }
};

template <Backend B>
struct concatenate_op {
  std::span<const var<B>> parts;
  bool by_rows;
  template <class View>
  View part_of(View whole, index_t at, const var<B>& part) const {
    return by_rows ? whole.row_range(at, part.rows()) : whole.col_range(at, part.cols());
  }
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    index_t at = 0;
    for (const var<B>& p : parts) {
      t.backend().copy(1, p.value(), part_of(out, at, p), false);
      at += by_rows ? p.rows() : p.cols();
    }
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    index_t at = 0;
    for (const var<B>& p : parts) {
      if (const auto d = t.gradient(p, slab)) {
        t.backend().copy(1, part_of(dy, at, p), d.view, d.accumulate);
      }
      at += by_rows ? p.rows() : p.cols();
    }
  }
};

template <Backend B>
struct blocks_op {
  var<B> x;
  index_t height;
  std::span<const index_t> source;
  bool by_task = false;
  [[nodiscard]] index_t fan_out() const { return by_task ? std::ssize(source) : 0; }
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    for (std::size_t i = 0; i < source.size(); ++i) {
      t.backend().copy(1, x.value().row_range(source[i] * height, height),
                       out.row_range(static_cast<index_t>(i) * height, height), false);
    }
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (!t.parting().empty()) {
      for (std::size_t i = 0; i < source.size(); ++i) {
        if (const index_t own = t.parting()[i]; own >= 0) {
          const auto d = t.gradient_to_add(x, own);
          t.backend().copy(1, dy.row_range(static_cast<index_t>(i) * height, height),
                           d.view.row_range(source[i] * height, height), true);
        }
      }
      return;
    }
    if (const auto d = t.gradient_to_add(x, slab)) {
      for (std::size_t i = 0; i < source.size(); ++i) {
        t.backend().copy(1, dy.row_range(static_cast<index_t>(i) * height, height),
                         d.view.row_range(source[i] * height, height), true);
      }
    }
  }
};

template <Backend B>
struct gather_op {
  using indices = backend::indices_of<B>;
  var<B> x;
  indices index, inverse_begin, inverse_items;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().gather_rows(x.value(), index, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().segment_sum(dy, inverse_begin, inverse_items, false, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct segment_op {
  using indices = backend::indices_of<B>;
  var<B> x;
  indices begin, segment_of;
  bool mean;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().segment_sum(x.value(), begin, indices{}, mean, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().segment_sum_backward(dy, begin, segment_of, mean, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct segment_items_op {
  using indices = backend::indices_of<B>;
  var<B> x;
  indices begin, items, segment_of;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().segment_sum(x.value(), begin, items, false, out, false);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().gather_rows(dy, segment_of, d.view, d.accumulate);
    }
  }
};

template <Backend B>
struct message_op {
  using indices = backend::indices_of<B>;
  var<B> sums, h;
  indices source, reverse, out_begin, out_edges;
  void forward(tape<B>& t, backend::matrix_of<B> out) const {
    t.backend().gather_difference(sums.value(), source, h.value(), reverse, out);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(sums, slab)) {
      t.backend().segment_sum(dy, out_begin, out_edges, false, d.view, d.accumulate);
    }
    if (const auto d = t.gradient(h, slab)) {  // `reverse` is its own inverse
      t.backend().gather_negative(dy, reverse, d.view, d.accumulate);
    }
  }
};

// `begin` must cut `items` things into `segments` segments.
inline void require_segments(const char* place, std::span<const std::int32_t> begin,
                             index_t segments, index_t items) {
  require(!begin.empty(), place, "no boundaries of segments");
  require(static_cast<index_t>(begin.size()) == segments + 1 && begin.front() == 0 &&
              begin.back() == items,
          place, "expected {} segments of {} rows together, found {} of {}", segments, items,
          static_cast<index_t>(begin.size()) - 1, begin.back());
}

// `items` things in segments, of which `segment_of` names one for each row of a matrix.
inline void require_partition(const char* place, index_t rows, std::span<const std::int32_t> begin,
                              index_t items, std::span<const std::int32_t> segment_of) {
  require_segments(place, begin, static_cast<index_t>(begin.size()) - 1, rows);
  require(items == rows && static_cast<index_t>(segment_of.size()) == rows, place,
          "{} rows, but {} items and {} segment numbers", rows, items, segment_of.size());
}

}  // namespace detail

/// Rows [first, first + count) of x.
template <Backend B>
var<B> slice_rows(var<B> x, index_t first, index_t count) {
  require(first >= 0 && count >= 0 && first + count <= x.rows(), "slice_rows",
          "rows {} to {} of a matrix of {}", first, first + count, x.rows());
  return x.owner->record_view(x.value().row_range(first, count), {x},
                              detail::slice_op<B>{x, first, 0});
}

/// Columns [first, first + count) of x.
template <Backend B>
var<B> slice_cols(var<B> x, index_t first, index_t count) {
  require(first >= 0 && count >= 0 && first + count <= x.cols(), "slice_cols",
          "columns {} to {} of a matrix of {}", first, first + count, x.cols());
  return x.owner->record_view(x.value().col_range(first, count), {x},
                              detail::slice_op<B>{x, 0, first});
}

/// Matrices of one width below each other.
template <Backend B>
var<B> concatenate_rows(std::span<const var<B>> parts) {
  require(!parts.empty(), "concatenate_rows", "no matrices");
  tape<B>& t = *parts[0].owner;
  index_t rows = 0;
  for (const var<B>& p : parts) {
    require(p.cols() == parts[0].cols(), "concatenate_rows", "widths {} and {} differ", p.cols(),
            parts[0].cols());
    rows += p.rows();
  }
  return t.record(rows, parts[0].cols(), parts,
                  detail::concatenate_op<B>{t.template host_array<var<B>>(parts), true});
}

/// Matrices of one height side by side.
template <Backend B>
var<B> concatenate_cols(std::span<const var<B>> parts) {
  require(!parts.empty(), "concatenate_cols", "no matrices");
  tape<B>& t = *parts[0].owner;
  index_t cols = 0;
  for (const var<B>& p : parts) {
    require(p.rows() == parts[0].rows(), "concatenate_cols", "heights {} and {} differ", p.rows(),
            parts[0].rows());
    cols += p.cols();
  }
  return t.record(parts[0].rows(), cols, parts,
                  detail::concatenate_op<B>{t.template host_array<var<B>>(parts), false});
}

/// x is blocks of `height` rows; block i of the result is block source[i] of x. Serves to repeat,
/// select and permute the stacked matrices of several tasks. `by_task` promises that block i of the
/// result serves task i alone.
template <Backend B>
var<B> select_blocks(var<B> x, index_t height, std::span<const index_t> source,
                     bool by_task = false) {
  tape<B>& t = *x.owner;
  for (const index_t s : source) {
    require(s >= 0 && height >= 0 && (s + 1) * height <= x.rows(), "select_blocks",
            "block {} of {} rows in an input of {}", s, height, x.rows());
  }
  return t.record(static_cast<index_t>(source.size()) * height, x.cols(), {x},
                  detail::blocks_op<B>{x, height, t.template host_array<index_t>(source), by_task});
}

/// Row i of the result is row index[i] of x. The inverse (for every row of x, which results use it)
/// is given as compressed sparse rows, so that the gradient is a sum in fixed order.
template <Backend B>
var<B> gather_rows(var<B> x, std::span<const std::int32_t> index,
                   std::span<const std::int32_t> inverse_begin,
                   std::span<const std::int32_t> inverse_items) {
  require(inverse_items.size() == index.size(), "gather_rows", "the inverse of {} indices has {}",
          index.size(), inverse_items.size());
  detail::require_segments("gather_rows", inverse_begin, x.rows(),
                           static_cast<index_t>(index.size()));
  tape<B>& t = *x.owner;
  return t.record(static_cast<index_t>(index.size()), x.cols(), {x},
                  detail::gather_op<B>{x, t.indices(index), t.indices(inverse_begin),
                                       t.indices(inverse_items)});
}

/// Row i of the result is the sum (or mean; 0 when empty) of rows [begin[i], begin[i + 1]) of x;
/// segment_of[k] names the segment of row k.
template <Backend B>
var<B> segment_sum(var<B> x, std::span<const std::int32_t> begin,
                   std::span<const std::int32_t> segment_of) {
  detail::require_partition("segment_sum", x.rows(), begin, x.rows(), segment_of);
  tape<B>& t = *x.owner;
  return t.record(static_cast<index_t>(begin.size()) - 1, x.cols(), {x},
                  detail::segment_op<B>{x, t.indices(begin), t.indices(segment_of), false});
}
template <Backend B>
var<B> segment_mean(var<B> x, std::span<const std::int32_t> begin,
                    std::span<const std::int32_t> segment_of) {
  detail::require_partition("segment_mean", x.rows(), begin, x.rows(), segment_of);
  tape<B>& t = *x.owner;
  return t.record(static_cast<index_t>(begin.size()) - 1, x.cols(), {x},
                  detail::segment_op<B>{x, t.indices(begin), t.indices(segment_of), true});
}

/// Row i of the result is the sum of rows items[k], k in [begin[i], begin[i + 1]). Every row of x
/// belongs to exactly one segment, segment_of[row].
template <Backend B>
var<B> segment_sum(var<B> x, std::span<const std::int32_t> begin,
                   std::span<const std::int32_t> items, std::span<const std::int32_t> segment_of) {
  detail::require_partition("segment_sum", x.rows(), begin, static_cast<index_t>(items.size()),
                            segment_of);
  tape<B>& t = *x.owner;
  return t.record(
      static_cast<index_t>(begin.size()) - 1, x.cols(), {x},
      detail::segment_items_op<B>{x, t.indices(begin), t.indices(items), t.indices(segment_of)});
}

/// Message of a directed edge e from what entered its source, without its own opposite:
/// m_e = sums[source[e]] - h[reverse[e]]. `out_begin`, `out_edges` list the edges that leave a
/// node.
template <Backend B>
var<B> edge_messages(var<B> sums, var<B> h, std::span<const std::int32_t> source,
                     std::span<const std::int32_t> reverse, std::span<const std::int32_t> out_begin,
                     std::span<const std::int32_t> out_edges) {
  require(sums.cols() == h.cols(), "edge_messages", "sums of {} columns, edges of {}", sums.cols(),
          h.cols());
  const auto edges = static_cast<std::size_t>(h.rows());
  require(source.size() == edges && reverse.size() == edges && out_edges.size() == edges,
          "edge_messages", "{} edges, but {} sources, {} reverses and {} edges that leave", edges,
          source.size(), reverse.size(), out_edges.size());
  detail::require_segments("edge_messages", out_begin, sums.rows(), h.rows());
  tape<B>& t = *h.owner;
  return t.record(h.rows(), h.cols(), {sums, h},
                  detail::message_op<B>{sums, h, t.indices(source), t.indices(reverse),
                                        t.indices(out_begin), t.indices(out_edges)});
}

}  // namespace vierbein::graph
