// Pooling: a window's pixels become one.
#pragma once

#include "vierbein/core/image.hpp"
#include "vierbein/graph/tape.hpp"

namespace vierbein::graph {

namespace detail {

template <Backend B>
struct pooling_op {
  using view = backend::matrix_of<B>;
  var<B> x;
  backend::pooling kind;
  image_shape image;
  image_window window;
  view where{};  // the largest pixels
  void forward(tape<B>& t, view out) {
    if (kind == backend::pooling::maximum) {
      where = t.make(out.rows, out.cols);
    }
    t.backend().pool(kind, image, window, x.value(), out, where);
  }
  void backward(tape<B>& t, backend::const_matrix_of<B>, backend::const_matrix_of<B> dy,
                index_t slab) const {
    if (const auto d = t.gradient(x, slab)) {
      t.backend().pool_backward(kind, image, window, where, dy, d.view, d.accumulate);
    }
  }
};

template <Backend B>
var<B> pool(const char* place, backend::pooling kind, var<B> x, const image_shape& image,
            const image_window& window) {
  require_window(place, image, window);
  require_columns(place, x.cols(), image);
  return x.owner->record(x.rows(), window.over(image, image.channels).size(), {x},
                         pooling_op<B>{x, kind, image, window});
}

}  // namespace detail

/// The largest pixel under the window, channel by channel. x (n, image.size()); the result holds
/// images of shape window.over(image, image.channels). Padding never wins. The gradient goes to the
/// first of several largest pixels.
template <Backend B>
var<B> max_pool(var<B> x, const image_shape& image, const image_window& window) {
  return detail::pool("max_pool", backend::pooling::maximum, x, image, window);
}

/// The mean of the pixels under the window that lie within the image, channel by channel.
template <Backend B>
var<B> average_pool(var<B> x, const image_shape& image, const image_window& window) {
  return detail::pool("average_pool", backend::pooling::mean, x, image, window);
}

/// The mean of all pixels, channel by channel: (n, channels).
template <Backend B>
var<B> global_average_pool(var<B> x, const image_shape& image) {
  require_image("global_average_pool", image);
  require_columns("global_average_pool", x.cols(), image);
  return x.owner->record(
      x.rows(), image.channels, {x},
      detail::pooling_op<B>{x, backend::pooling::mean, image, {image.height, image.width, 1, 0}});
}

}  // namespace vierbein::graph
