// Layers of image networks that are neither convolution nor pooling: input scaling and the
// normalisation of channels.
#pragma once

#include <cmath>
#include <string>

#include "vierbein/core/image.hpp"
#include "vierbein/graph/normalisation.hpp"

namespace vierbein::graph {

namespace detail {

// Layer norm of every pixel: images (n, pixels · channels) seen as (n · pixels, channels).
template <Backend B>
struct channel_norm_op {
  using view = backend::matrix_of<B>;
  using const_view = backend::const_matrix_of<B>;
  var<B> x, gain, bias;
  view normalised, spread;

  template <class View>
  static View pixels_of(View images, index_t channels) {
    return {images.data, images.size() / channels, channels};
  }

  void backward(tape<B>& t, const_view, const_view dy, index_t slab) const {
    const B& b = t.backend();
    const const_view dpixels = pixels_of(dy, normalised.cols);
    if (const auto d = t.gradient(x, slab)) {
      b.layer_norm_backward(dpixels, normalised, spread, gain.value(),
                            pixels_of(d.view, normalised.cols), d.accumulate);
    }
    if (const auto d = t.gradient(gain, slab)) {
      b.column_dots(dpixels, normalised, d.view, d.accumulate);
    }
    if (const auto d = t.gradient(bias, slab)) {
      b.column_sums(dpixels, d.view, d.accumulate);
    }
  }
};

}  // namespace detail

/// Layer normalisation (Ba, Kiros, Hinton 2016) over the channels of every pixel, as in ConvNeXt
/// (Liu et al. 2022): a pixel's channels get mean 0 and variance 1, then gain and bias (1,
/// channels). x (n, image.size()) without gaps between images. It is the same in training and
/// evaluation mode and makes no sample depend on the others of its batch.
template <Backend B>
var<B> channel_norm(var<B> x, const image_shape& image, var<B> gain, var<B> bias,
                    double epsilon = 1e-5) {
  using op = detail::channel_norm_op<B>;
  tape<B>& t = *x.owner;
  require_columns("channel_norm", x.cols(), image);
  require(x.value().contiguous(), "channel_norm", "the images do not lie one behind the other");
  detail::require_row("channel_norm", "gain", gain, image.channels);
  detail::require_row("channel_norm", "bias", bias, image.channels);
  const index_t pixels = x.rows() * image.pixels();
  const auto normalised = t.make(pixels, image.channels);
  const auto spread = t.make(pixels, 1);
  const auto y = t.make(x.rows(), x.cols());
  t.backend().layer_norm(op::pixels_of(x.value(), image.channels), gain.value(), bias.value(),
                         static_cast<typename B::scalar>(epsilon), normalised, spread,
                         op::pixels_of(y, image.channels));
  return t.record_view(y, {x, gain, bias}, op{x, gain, bias, normalised, spread});
}

/// channel_norm with parameters "<name>/gain" and "<name>/bias".
struct channel_normalisation {
  segment_id gain = -1;
  segment_id bias = -1;
  image_shape image;

  template <Scalar T>
  static channel_normalisation make(parameters<T>& theta, const std::string& name,
                                    const image_shape& image) {
    return {theta.add(name + "/gain", 1, image.channels, initialiser::ones),
            theta.add(name + "/bias", 1, image.channels, initialiser::zeros), image};
  }

  template <Backend B>
  var<B> operator()(tape<B>& t, var<B> x) const {
    return channel_norm(x, image, t.parameter(gain), t.parameter(bias));
  }
};

/// Channels of mean 0 and deviation 1 on the training images, as graph::input_scaling does for the
/// columns of features: a channel that is constant becomes 0, and values beyond ±10 deviations are
/// clipped. Mean and 1 / deviation are kept once for every pixel of a line, (1, width · channels),
/// so that a whole line is scaled at once.
struct image_scaling {
  segment_id mean = -1;
  segment_id factor = -1;
  image_shape image;

  static constexpr double limit = 10;

  template <Scalar T>
  static image_scaling make(parameters<T>& theta, const std::string& name,
                            const image_shape& image) {
    const index_t line = image.width * image.channels;
    const image_scaling made{theta.add(name + "/mean", 1, line, initialiser::zeros),
                             theta.add(name + "/factor", 1, line, initialiser::ones), image};
    theta.freeze(name + "/");
    return made;
  }

  /// `moments[c]` has the mean and the deviation of channel c.
  template <Scalar T, class Moments>
  void fit(parameters<T>& theta, const Moments& moments) const {
    for (index_t k = 0; k < image.width * image.channels; ++k) {
      const auto& [centre, deviation] = moments[static_cast<std::size_t>(k % image.channels)];
      const bool constant = !(deviation > 1e-7 * std::abs(centre) + 1e-30);
      theta.view(mean)(0, k) = static_cast<T>(centre);
      theta.view(factor)(0, k) = constant ? T{0} : static_cast<T>(1 / deviation);
    }
  }

  /// Records the scaled images x (n, image.size()) as a constant of the step.
  template <Backend B, class U>
  var<B> operator()(tape<B>& t, matrix_view<const U> x) const {
    const auto raw = t.upload(x).value();
    const auto out = t.make(x.rows, x.cols);
    const index_t line = image.width * image.channels;
    const index_t lines = x.rows * image.height;
    t.backend().standardise({raw.data, lines, line}, t.parameter(mean).value(),
                            t.parameter(factor).value(), static_cast<typename B::scalar>(limit),
                            {out.data, lines, line});
    return t.constant(out);
  }
};

}  // namespace vierbein::graph
