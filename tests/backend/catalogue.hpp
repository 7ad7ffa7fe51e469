// Every operation of a backend, called once, in groups: for the comparison with the oracle and for
// the comparison of numbers of threads.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "workspace.hpp"

namespace backend_test {

using vb::activation;
using vb::backend::binary;
using vb::backend::loss_kind;
using vb::backend::transposition;
using vb::backend::unary;

inline constexpr activation activations[] = {activation::identity, activation::relu,
                                             activation::gelu, activation::silu, activation::tanh};
inline constexpr unary unaries[] = {unary::scale,     unary::shift,    unary::square,
                                    unary::root,      unary::absolute, unary::exponential,
                                    unary::logarithm, unary::softplus, unary::sigmoid};
inline constexpr binary binaries[] = {binary::add, binary::subtract, binary::multiply,
                                      binary::divide};
inline constexpr loss_kind losses[] = {loss_kind::squared, loss_kind::absolute, loss_kind::huber,
                                       loss_kind::logistic, loss_kind::softmax};

template <class Enum>
std::string numbered(const char* name, Enum e) {
  return name + std::string(" ") + std::to_string(static_cast<int>(e));
}

template <class B>
using workspace_of = workspace<typename B::scalar>;

/// Assignments, functions of one and two arguments, activations, and their derivatives.
template <class B>
void run_elementwise(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  using T = typename B::scalar;
  const auto [rows, cols] = s;
  const auto x = w.input(rows, cols, -3, 3);
  const auto positive = w.input(rows, cols, 0.25, 4);
  const auto dy = w.input(rows, cols);

  b.fill(w.output("fill", rows, cols), T(0.75));
  b.copy(T(0.75), x, w.output("copy", rows, cols, 1, 4), accumulate);
  for (const unary f : unaries) {
    const bool restricted = f == unary::root || f == unary::logarithm;
    const auto& v = restricted ? positive : x;
    const double size = f == unary::exponential ? 32 : 16;
    const auto y = w.output(numbered("unary", f), rows, cols, 1, size);
    b.unary(f, T(0.75), v, y);
    b.unary_backward(f, T(0.75), v, y, dy,
                     w.output(numbered("unary backward", f), rows, cols, 1, size), accumulate);
  }
  for (const binary f : binaries) {
    b.binary(f, x, positive, w.output(numbered("binary", f), rows, cols, 1, 12));
  }
  b.multiply_add(T(0.75), x, dy, w.output("multiply add", rows, cols, 1, 4), accumulate);
  const auto q = w.output("quotient", rows, cols, 1, 12);
  b.binary(binary::divide, x, positive, q);
  for (const bool numerator : {true, false}) {
    b.divide_backward(dy, q, positive, numerator,
                      w.output(numbered("divide backward", numerator), rows, cols, 1, 48),
                      accumulate);
  }
  for (const activation act : activations) {
    const auto y = w.output(numbered("activate", act), rows, cols, 1, 3);
    b.activate(act, x, y);
    b.activation_backward(act, vb::backend::formula::derivative_needs_argument(act) ? x : y, dy,
                          w.output(numbered("activation backward", act), rows, cols, 2, 1));
  }
}

/// Segments of 0 to 4 rows; the first, the last and some between are empty, one is long.
struct segmentation {
  std::vector<std::int32_t> begin{0}, items, segment_of, segment_of_item;
  static constexpr std::int32_t longest = 37;

  explicit segmentation(index_t segments) {
    const vb::random_stream stream{5, 5};
    for (index_t i = 0; i < segments; ++i) {
      auto length = static_cast<std::int32_t>(5 * stream.uniform(static_cast<std::uint64_t>(i)));
      length = i == 0 || i + 1 == segments ? 0 : i == segments / 2 ? longest : length;
      begin.push_back(begin.back() + length);
      segment_of.insert(segment_of.end(), static_cast<std::size_t>(length),
                        static_cast<std::int32_t>(i));
    }
    segment_of_item.resize(segment_of.size());
    for (const index_t k : vb::random_permutation(begin.back(), {5, 6})) {
      segment_of_item[static_cast<std::size_t>(k)] = segment_of[items.size()];
      items.push_back(static_cast<std::int32_t>(k));
    }
  }
};

/// Operations that move rows.
template <class B>
void run_structure(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  const auto [rows, cols] = s;
  const vb::random_stream stream{7, 7};
  const index_t from = rows / 2 + 1;
  const auto random_rows = [&](std::uint64_t which) {
    std::vector<std::int32_t> numbers;
    for (index_t i = 0; i < rows; ++i) {
      numbers.push_back(static_cast<std::int32_t>(
          static_cast<double>(from) * stream.fork(which).uniform(static_cast<std::uint64_t>(i))));
    }
    return w.indices(std::move(numbers));
  };
  const auto i = random_rows(0);
  const auto j = random_rows(1);
  const auto x = w.input(from, cols);
  const auto y = w.input(from, cols);
  b.gather_rows(x, i, w.output("gather rows", rows, cols), accumulate);
  b.gather_negative(x, i, w.output("gather negative", rows, cols), accumulate);
  b.gather_difference(x, i, y, j, w.output("gather difference", rows, cols));

  const segmentation parts(rows);
  const auto n = static_cast<index_t>(parts.items.size());
  const auto begin = w.indices(parts.begin);
  const auto items = w.indices(parts.items);
  const auto of = w.indices(parts.segment_of);
  const auto z = w.input(n, cols);
  const auto dy = w.input(rows, cols);
  for (const bool mean : {false, true}) {
    const std::string kind = mean ? "mean" : "sum";
    constexpr double terms = segmentation::longest;
    b.segment_sum(z, begin, {}, mean, w.output("segment " + kind, rows, cols, terms), accumulate);
    if (n > 0) {
      b.segment_sum(z, begin, items, mean, w.output("items " + kind, rows, cols, terms),
                    accumulate);
    }
    b.segment_sum_backward(dy, begin, of, mean, w.output("backward of " + kind, n, cols),
                           accumulate);
  }
}

/// Sums, norms and broadcasts.
template <class B>
void run_reductions(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  using T = typename B::scalar;
  const auto [rows, cols] = s;
  const auto n = static_cast<double>(rows);
  const auto d = static_cast<double>(cols);
  const auto x = w.input(rows, cols);
  const auto y = w.input(rows, cols);
  const auto row = w.input(1, cols);
  const auto column = w.input(rows, 1);
  const auto scalar = w.input(1, 1);
  b.row_sums(x, T(0.75), w.output("row sums", rows, 1, d));
  b.column_sums(x, w.output("column sums", 1, cols, n), accumulate);
  b.column_dots(x, y, w.output("column dots", 1, cols, n), accumulate);
  b.sum(x, T(0.75), w.output("sum", 1, 1, n * d), accumulate);
  b.broadcast_column(column, T(0.75), w.output("broadcast column", rows, cols), accumulate);
  b.broadcast_row(row, T(0.75), w.output("broadcast row", rows, cols), accumulate);
  b.broadcast_scalar(scalar, T(0.75), w.output("broadcast scalar", rows, cols), accumulate);
  const auto norms = w.output("row norms", rows, 1, d);
  b.row_norms(x, T(0x1p-10), norms);
  b.row_norms_backward(x, norms, column, w.output("row norms backward", rows, cols, d), accumulate);
  for (const index_t copies : {index_t{1}, index_t{3}}) {
    const index_t half = (rows + 1) / 2;  // two groups
    const auto blocks = w.input(2 * (1 + copies) * half, cols);
    const auto distances = w.output("copy distances", 2 * copies * half, 1, d);
    b.copy_distances(blocks, half, copies, T(0x1p-10), distances);
    b.copy_distances_backward(
        blocks, half, copies, distances, w.input(2 * copies * half, 1),
        w.output("copy distances backward", blocks.rows, cols, static_cast<double>(copies) * d),
        accumulate);
  }
  const auto flat = w.flat_input(rows * cols);
  w.value("squared norm", b.squared_norm(flat), n * d * std::sqrt(n * d));
}

/// Dropout and additive noise.
template <class B>
void run_noise(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  using T = typename B::scalar;
  const vb::random_stream stream{3, 8};
  const auto x = w.input(s.rows, s.cols);
  b.add_normal(x, T(0.75), stream, w.output("add normal", s.rows, s.cols, 1, 4));
  b.dropout(x, T(0.375), stream, w.output("dropout", s.rows, s.cols, 1, 2), accumulate);
}

/// Layer and batch norm. epsilon = 1/64 bounds 1 / sqrt(variance + epsilon) by 8.
template <class B>
void run_normalisation(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  using T = typename B::scalar;
  const auto [rows, cols] = s;
  const auto epsilon = T(0x1p-6);
  const auto x = w.input(rows, cols);
  const auto gain = w.input(1, cols, 0.5, 2);
  const auto bias = w.input(1, cols);
  const auto dy = w.input(rows, cols);
  for (const bool by_rows : {true, false}) {
    const auto n = static_cast<double>(by_rows ? cols : rows);
    const auto normalised = w.output("normalised", rows, cols, n, 8);
    const auto spread = by_rows ? w.output("spread of rows", rows, 1, n, 8)
                                : w.output("spread of columns", 1, cols, n, 8);
    const auto y = w.output("y", rows, cols, n, 16);
    if (by_rows) {
      b.layer_norm(x, gain, bias, epsilon, normalised, spread, y);
      b.layer_norm_backward(dy, normalised, spread, gain,
                            w.output("layer norm backward", rows, cols, n, 64), accumulate);
    } else {
      const auto mean = w.output("running mean", 1, cols, n);
      const auto variance = w.output("running variance", 1, cols, n);
      b.batch_norm(x, gain, bias, epsilon, T(0.25), mean, variance, normalised, spread, y);
      b.batch_norm_backward(dy, normalised, spread, gain,
                            w.output("batch norm backward", rows, cols, n, 64), accumulate);
    }
  }
  b.standardise(x, bias, w.input(1, cols, -4, 4), T(1.5),
                w.output("standardise", rows, cols, 1, 8));
  b.normalise_columns(x, bias, w.input(1, cols, 0.25, 2), gain, bias, epsilon,
                      w.output("normalise columns", rows, cols, 4, 8));
}

/// All losses with some labels missing, with all missing and with none missing.
template <class B>
void run_losses(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  using T = typename B::scalar;
  const auto prediction = w.input(s.rows, s.cols, -3, 3);
  const auto dl = w.input(1, 1);
  for (const loss_kind kind : losses) {
    for (const double missing : {0.0, 0.4, 1.0}) {
      const index_t width = kind == loss_kind::softmax ? 1 : s.cols;
      const auto label = w.input(s.rows, width, -2, 2);
      const auto chosen = w.input(s.rows, width, 0, 1);
      for (index_t r = 0; r < s.rows; ++r) {
        for (index_t c = 0; c < width; ++c) {
          T& y = label(r, c);
          if (kind == loss_kind::logistic) {
            y = y > 0 ? 1 : 0;
          } else if (kind == loss_kind::softmax) {
            y = std::floor((y + 2) / 4 * static_cast<T>(s.cols));
          }
          if (static_cast<double>(chosen(r, c)) < missing) {
            y = std::numeric_limits<T>::quiet_NaN();
          }
        }
      }
      const double terms = std::sqrt(static_cast<double>(s.rows * s.cols)) +
                           static_cast<double>(kind == loss_kind::softmax ? s.cols : 2);
      const auto statistics = w.output(numbered("loss", kind), 1, 2, terms, 25);
      b.loss(kind, T(0.75), prediction, label, statistics);
      b.loss_backward(kind, T(0.75), prediction, label, statistics, dl,
                      w.output(numbered("loss backward", kind), s.rows, s.cols, terms, 10),
                      accumulate);
    }
  }
  const auto label = w.input(s.rows, s.cols, -2, 2);
  const auto chosen = w.input(s.rows, s.cols, 0, 1);
  for (index_t r = 0; r < s.rows; ++r) {
    for (index_t c = 0; c < s.cols; ++c) {
      if (chosen(r, c) < T(0.4)) {
        label(r, c) = std::numeric_limits<T>::quiet_NaN();
      }
    }
  }
  b.label_mask(label, w.output("label mask", s.rows, s.cols));
  b.fill_missing(label, T(0.75), w.output("fill missing", s.rows, s.cols, 1, 2));
}

/// Squared distances of 1, 2 and 5 stacked matrices.
template <class B>
void run_spread(const B& b, workspace_of<B>& w, shape s, bool accumulate) {
  using T = typename B::scalar;
  const auto scale = T(1) / static_cast<T>(s.rows * s.cols + 1);
  for (const index_t groups : {1, 2, 5}) {
    const auto k = static_cast<double>(groups);
    const double mean_of = std::sqrt(static_cast<double>(s.rows * s.cols));
    const auto x = w.input(groups * s.rows, s.cols);
    b.group_spread(x, groups, scale, w.output("group spread", 1, 1, k * k + mean_of, 4));
    b.group_spread_backward(x, groups, scale, w.input(1, 1),
                            w.output("group spread backward", groups * s.rows, s.cols, k, 2 * k),
                            accumulate);
  }
}

/// Two steps of each optimiser; the coefficients are exact in float.
template <class B>
void run_optimisers(const B& b, workspace_of<B>& w, shape s, bool /*accumulate*/) {
  using T = typename B::scalar;
  const index_t n = s.rows * s.cols;
  const auto g = w.flat_input(n);
  const auto theta = w.flat_output("adam", n, 4);
  const auto m = w.flat_output("first moment", n, 4);
  const auto v = w.flat_output("second moment", n, 4, 1, 0.125);
  for (const double t : {1.0, 2.0}) {
    b.adam_step(
        theta, g, T(0.5), m, v,
        {0.125, 0.875, 0.96875, 0x1p-10, 0.25, 1 - std::pow(0.875, t), 1 - std::pow(0.96875, t)});
  }
  for (const bool nesterov : {false, true}) {
    const auto x = w.flat_output(numbered("sgd", nesterov), n, 4, 2);
    const auto u = w.flat_output("velocity", n, 4, 2);
    for (int t = 0; t < 2; ++t) {
      b.sgd_step(x, g, T(0.5), u, {0.125, 0.875, 0.25, nesterov});
    }
  }
}

/// Products of one shape in a group: some share a destination, which is then a sum.
template <class B>
void run_products(const B& b, workspace_of<B>& w, shape s, index_t depth, bool accumulate) {
  using T = typename B::scalar;
  using one = vb::backend::product<T, vb::host_space>;
  for (const transposition kind : {transposition::nn, transposition::nt, transposition::tn}) {
    const bool left = kind == transposition::tn;
    const bool right = kind == transposition::nt;
    const auto d = static_cast<double>(depth);
    const vb::matrix_view<T> c[] = {w.output(numbered("lone product", kind), s.rows, s.cols, d),
                                    w.output(numbered("sum of three", kind), s.rows, s.cols, 3 * d),
                                    w.output(numbered("sum of two", kind), s.rows, s.cols, 2 * d)};
    std::vector<one> group;
    for (const std::size_t i : {0U, 1U, 1U, 1U, 2U, 2U}) {
      group.push_back({left ? w.input(depth, s.rows) : w.input(s.rows, depth),
                       right ? w.input(s.cols, depth) : w.input(depth, s.cols), c[i]});
    }
    b.multiply(kind, group, accumulate);
  }
}

/// Groups of affine layers, with and without bias, addend and kept argument, each activation.
template <class B>
void run_affine(const B& b, workspace_of<B>& w, shape s, index_t depth) {
  using T = typename B::scalar;
  using layer = vb::backend::affine_layer<T, vb::host_space>;
  const auto d = static_cast<double>(depth);
  std::vector<layer> group(8);
  for (std::size_t options = 0; options < 8; ++options) {
    layer& one = group[options];
    one.x = w.input(s.rows, depth);
    one.w = w.input(depth, s.cols);
    if ((options & 1) != 0) {
      one.bias = w.input(1, s.cols);
    }
    if ((options & 2) != 0) {
      one.addend = w.input(s.rows, s.cols);
    }
  }
  for (const activation act : activations) {
    for (std::size_t options = 0; options < 8; ++options) {
      layer& one = group[options];
      if ((options & 4) != 0) {
        one.argument = w.output(numbered("argument", act), s.rows, s.cols, d + 2);
      }
      // No activation is steeper than 1.13.
      one.y = w.output(numbered("affine", act), s.rows, s.cols, d + 2, 1.25);
    }
    b.affine(group, act);
  }
}

/// Images, a window over them, and so many outputs.
struct image_case {
  vb::image_shape image;
  vb::image_window window;
  index_t out;
};

/// One pixel, one line, windows that overlap, that leave pixels out and that reach over the edge;
/// few and many channels and outputs; lines that are longer and shorter than a register.
inline constexpr image_case image_cases[] = {
    {{1, 1, 1}, {1, 1, 1, 0}, 1},    {{3, 4, 5}, {1, 1, 1, 0}, 20}, {{1, 9, 38}, {5, 5, 1, 0}, 6},
    {{6, 9, 7}, {5, 5, 1, 2}, 16},   {{2, 7, 10}, {3, 2, 2, 1}, 3}, {{5, 8, 8}, {2, 4, 3, 1}, 17},
    {{16, 5, 6}, {3, 3, 1, 1}, 16},  {{8, 6, 5}, {3, 3, 2, 1}, 33}, {{40, 4, 4}, {2, 2, 2, 0}, 5},
    {{1, 5, 40}, {1, 40, 1, 0}, 40}, {{4, 5, 5}, {5, 5, 1, 4}, 18}};

/// A convolution of n images with every activation and its gradients in two slabs; pooling.
template <class B>
void run_images(const B& b, workspace_of<B>& w, image_case c, index_t n, bool accumulate) {
  using T = typename B::scalar;
  using layer = vb::backend::convolution_layer<T, vb::host_space>;
  using slab = vb::backend::convolution_slab<T, vb::host_space>;
  const auto& [image, window, out] = c;
  const vb::image_shape result = window.over(image, out);
  const index_t depth = window.size() * image.channels;
  const auto terms = static_cast<double>(depth);
  const auto x = w.input(n, image.size());
  const auto filters = w.input(depth, out);
  const auto bias = w.input(1, out);
  for (const activation act : activations) {
    layer one{image, window, x, filters, {}, {}, {}};
    if (act != activation::tanh) {
      one.bias = bias;
    }
    if (vb::backend::formula::derivative_needs_argument(act)) {
      one.argument = w.output(numbered("argument", act), n, result.size(), terms + 1);
    }
    one.y = w.output(numbered("convolution", act), n, result.size(), terms + 1, 1.25);
    b.convolve(one, act);
    // A ReLU of a number near 0 has one gradient or the other: only far from it can they agree.
    if (act == activation::relu) {
      const double far = tolerance<float>(terms + 1, 1.25, 1);
      for (index_t i = 0; i < n; ++i) {
        for (index_t k = 0; k < one.y.cols; ++k) {
          if (std::abs(static_cast<double>(one.y(i, k))) < far) {
            one.y(i, k) = 0;
          }
        }
      }
    }
    const double slopes = 1.25 * (terms + 2);
    const auto per_pixel = static_cast<double>(window.size() * out);
    const auto places = static_cast<double>(n * result.pixels());
    slab slabs[2];
    for (std::size_t s = 0; s < 2; ++s) {
      slabs[s].dy = w.input(n, result.size());
      slabs[s].dx = w.output(numbered("convolution dx", act), n, image.size(), per_pixel, slopes);
      slabs[s].accumulate = accumulate;
      if (s == 0 || act != activation::gelu) {
        slabs[s].dw = w.output(numbered("convolution dw", act), depth, out, places, slopes);
      }
      if (s == 1 || act != activation::gelu) {
        slabs[s].db = w.output(numbered("convolution db", act), 1, out, places, slopes);
      }
    }
    if (act == activation::silu) {
      slabs[1].dx = {};
    }
    b.convolve_backward(one, act, {slabs, act == activation::identity ? 1U : 2U});
  }
  const vb::image_shape pooled = window.over(image, image.channels);
  const auto size = static_cast<double>(window.size());
  for (const auto kind : {vb::backend::pooling::maximum, vb::backend::pooling::mean}) {
    const bool maximum = kind == vb::backend::pooling::maximum;
    const auto where = maximum ? w.output("where", n, pooled.size()) : vb::matrix_view<T>{};
    b.pool(kind, image, window, x, w.output(numbered("pool", kind), n, pooled.size(), size), where);
    b.pool_backward(kind, image, window, where, w.input(n, pooled.size()),
                    w.output(numbered("pool backward", kind), n, image.size(), size), accumulate);
  }
}

/// A convolution of n images that is pooled before every activation, and its gradients in two
/// slabs: what a backend does in one go, or convolution, pool and activation one after the other.
template <class B>
void run_pooled(const B& b, workspace_of<B>& w, image_case c, const vb::image_window& pool,
                index_t n, bool together) {
  using T = typename B::scalar;
  using layer = vb::backend::convolution_layer<T, vb::host_space>;
  using slab = vb::backend::convolution_slab<T, vb::host_space>;
  const auto& [image, window, out] = c;
  const vb::image_shape whole = window.over(image, out);
  const vb::image_shape pooled = pool.over(whole, out);
  const auto x = w.input(n, image.size());
  const auto filters = w.input(window.size() * image.channels, out);
  const auto bias = w.input(1, out);
  for (const activation act : activations) {
    const bool needs_argument = vb::backend::formula::derivative_needs_argument(act);
    const auto argument = w.output(numbered("argument", act), n, pooled.size());
    const auto y = w.output(numbered("y", act), n, pooled.size());
    const auto where = w.output(numbered("where", act), n, pooled.size());
    slab slabs[2];
    for (slab& one : slabs) {
      one.dy = w.input(n, pooled.size());
      one.dx = w.output(numbered("dx", act), n, image.size());
      one.dw = w.output(numbered("dw", act), filters.rows, out);
      one.db = w.output(numbered("db", act), 1, out);
    }
    slabs[1].accumulate = true;
    if (together) {
      layer one{image, window, x, filters, bias, argument, y, pool, where};
      if (!needs_argument) {
        one.argument = {};
      }
      b.convolve(one, act);
      if (!needs_argument) {  // written below by the other way
        b.fill(argument, T(0));
      }
      b.convolve_backward(one, act, slabs);
      continue;
    }
    vb::matrix<T> full(n, whole.size());
    vb::matrix<T> dfull(n, whole.size());
    vb::matrix<T> dz(n, pooled.size());
    const layer one{image, window, x, filters, bias, {}, full.view()};
    b.convolve(one, activation::identity);
    b.pool(vb::backend::pooling::maximum, whole, pool, full.view(), argument, where);
    b.activate(act, argument, y);
    for (slab& each : slabs) {
      b.activation_backward(act, needs_argument ? argument : y, each.dy, dz.view());
      b.pool_backward(vb::backend::pooling::maximum, whole, pool, where, dz.view(), dfull.view(),
                      false);
      each.dy = dfull.view();
      b.convolve_backward(one, activation::identity, {&each, 1});
    }
    if (!needs_argument) {
      b.fill(argument, T(0));
    }
  }
}

}  // namespace backend_test
