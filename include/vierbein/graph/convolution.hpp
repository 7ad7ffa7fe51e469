// Convolutions on images, fused with bias and activation, and with pooling where a backend can.
#pragma once

#include <string>

#include "vierbein/core/image.hpp"
#include "vierbein/graph/elementwise.hpp"
#include "vierbein/graph/pooling.hpp"
#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct convolution_op {
  using view = backend::matrix_of<B>;
  using const_view = backend::const_matrix_of<B>;
  using layer = backend::convolution_layer<typename B::scalar, typename B::space>;
  using slab = backend::convolution_slab<typename B::scalar, typename B::space>;

  var<B> x, w, b;
  image_shape image;
  image_window window;
  activation act;
  image_window pool{};
  bool pools = false;
  view argument{};
  view where{};  // the largest pixels

  [[nodiscard]] layer layer_of(view y) const {
    return {image,    window, x.value(), w.value(), b ? b.value() : const_view{},
            argument, y,      pool,      where};
  }

  [[nodiscard]] index_t cols() const {
    const image_shape out = window.over(image, w.cols());
    return pools ? pool.over(out, out.channels).size() : out.size();
  }

  void forward(tape<B>& t, view y) {
    if (pools) {
      where = t.make(y.rows, y.cols);
    }
    if (backend::formula::derivative_needs_argument(act)) {
      argument = t.make(y.rows, y.cols);
    }
    t.backend().convolve(layer_of(y), act);
  }

  // All slabs at once: the patches are gathered once for all of them.
  void backward_all(tape<B>& t, const_view y, const_view dy, index_t first, index_t last) {
    auto slabs = t.template host_array<slab>(last - first);
    for (index_t s = first; s < last; ++s) {
      slab& one = slabs[static_cast<std::size_t>(s - first)];
      one.dy = dy.row_range((s - first) * y.rows, y.rows);
      if (const auto d = t.gradient(x, s)) {
        one.dx = d.view;
        one.accumulate = d.accumulate;
      }
      one.dw = t.gradient_to_add(w, s).view;
      if (b) {
        one.db = t.gradient_to_add(b, s).view;
      }
    }
    const view value{const_cast<typename B::scalar*>(y.data), y.rows, y.cols, y.stride};
    t.backend().convolve_backward(layer_of(value), act, slabs);
  }
};

template <Backend B>
var<B> convolve(const convolution_op<B>& op) {
  const auto& [x, w, b, image, window, act, pool, pools, argument, where] = op;
  require_window("convolve", image, window);
  require_columns("convolve", x.cols(), image);
  require(w.rows() == window.size() * image.channels, "convolve",
          "the filters have {} rows, expected {} for a window of {} x {} on {} channels", w.rows(),
          window.size() * image.channels, window.height, window.width, image.channels);
  require(!b || (b.rows() == 1 && b.cols() == w.cols()), "convolve",
          "the bias is {} x {}, expected 1 x {}", b ? b.rows() : 0, b ? b.cols() : 0, w.cols());
  tape<B>& t = *x.owner;
  if (b) {
    return t.record(x.rows(), op.cols(), {x, w, b}, op);
  }
  return t.record(x.rows(), op.cols(), {x, w}, op);
}

}  // namespace detail

/// y = act(w * x + b): a convolution of the images x (n, image.size()) with the filters w
/// (window.size() · channels, out), whose rows are in the order (line, column, channel); b (1, out)
/// or none. y (n, positions · out) holds images of shape window.over(image, out). Pixels outside
/// the image count as 0. As everywhere in machine learning this is a correlation: filters are not
/// mirrored.
template <Backend B>
var<B> convolve(var<B> x, const image_shape& image, const image_window& window, var<B> w, var<B> b,
                activation act = activation::identity) {
  return detail::convolve<B>({x, w, b, image, window, act});
}

/// y = act(max_pool(w * x + b)), in one go where the backend can: the output of the convolution is
/// then never in memory as a whole.
template <Backend B>
var<B> convolve_and_pool(var<B> x, const image_shape& image, const image_window& window, var<B> w,
                         var<B> b, const image_window& pool,
                         activation act = activation::identity) {
  const bool apart = pool.stride >= pool.height && pool.stride >= pool.width && pool.padding == 0;
  if (backend::pools_convolutions<B> && apart) {
    require_window("convolve", image, window);
    require_window("max_pool", window.over(image, w.cols()), pool);
    return detail::convolve<B>({x, w, b, image, window, act, pool, true});
  }
  const auto y = convolve(x, image, window, w, b);
  return activate(max_pool(y, window.over(image, w.cols()), pool), act);
}

/// A convolution layer as a shape, like graph::linear: filters "<name>/weight" and, if wanted, a
/// bias "<name>/bias".
struct convolution {
  segment_id weight = -1;
  segment_id bias = -1;
  image_shape in;
  image_shape out;
  image_window window;

  template <Scalar T>
  static convolution make(parameters<T>& theta, const std::string& name, const image_shape& in,
                          index_t channels, const image_window& window,
                          activation act = activation::identity, bool with_bias = true) {
    require_window(name.c_str(), in, window);
    require(channels > 0, name.c_str(), "expected at least one channel, found {}", channels);
    const bool rectified = act != activation::identity && act != activation::tanh;
    convolution made{-1, -1, in, window.over(in, channels), window};
    require_image(name.c_str(), made.out);
    made.weight = theta.add(name + "/weight", window.size() * in.channels, channels,
                            rectified ? initialiser::he : initialiser::glorot);
    if (with_bias) {
      made.bias = theta.add(name + "/bias", 1, channels, initialiser::zeros);
    }
    return made;
  }

  template <Backend B>
  var<B> operator()(tape<B>& t, var<B> x, activation act = activation::identity) const {
    return convolve(x, in, window, t.parameter(weight), bias >= 0 ? t.parameter(bias) : var<B>{},
                    act);
  }

  /// act(max_pool(·)) of the same without activation: images of shape pool.over(out, out.channels).
  template <Backend B>
  var<B> pooled(tape<B>& t, var<B> x, const image_window& pool, activation act) const {
    return convolve_and_pool(x, in, window, t.parameter(weight),
                             bias >= 0 ? t.parameter(bias) : var<B>{}, pool, act);
  }
};

}  // namespace vierbein::graph
