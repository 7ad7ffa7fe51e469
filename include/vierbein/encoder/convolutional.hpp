// A convolutional network of the kind of LeNet.
#pragma once

#include <vector>

#include "vierbein/data/images.hpp"
#include "vierbein/encoder/concept.hpp"
#include "vierbein/graph/convolution.hpp"
#include "vierbein/graph/image_layers.hpp"
#include "vierbein/graph/layers.hpp"

namespace vierbein::encoder {

/// Convolutions with pooling, then fully connected layers (LeCun et al. 1998):
///     h_0 = standardised x,  h_{i+1} = act(pool(W_i * h_i + b_i)),  b = stack(h_last)
/// Filters are kernel x kernel, the pool is the largest of pool x pool pixels (1: no pooling). The
/// activation follows the pool: for activations that never fall, such as relu and tanh, this gives
/// the same as before it, with a quarter of the work. The defaults are LeNet-5 with ReLU.
struct convolutional {
  using input_set = data::image_set;
  static constexpr const char* kind = "convolutional";

  std::vector<index_t> channels{6, 16};  ///< outputs of the convolutions
  index_t kernel = 5;                    ///< height and width of the filters
  index_t padding = 0;                   ///< zeros around the input of every convolution
  index_t pool = 2;                      ///< height, width and step of the pools
  std::vector<index_t> hidden{120, 84};  ///< fully connected layers; may be empty
  activation act = activation::relu;
  double dropout = 0;  ///< on the last pool and behind every fully connected layer but the last

  struct module {
    graph::image_scaling scaling;
    std::vector<graph::convolution> layers;
    graph::dense_stack stack;
    index_t pool = 1;
    activation act{};
    double dropout = 0;

    [[nodiscard]] index_t width() const { return stack.width; }

    template <Backend B>
    graph::var<B> operator()(graph::tape<B>& t, const data::image_set::batch_type& batch) const {
      auto h = scaling(t, batch.values.view());
      for (const graph::convolution& layer : layers) {
        h = pool == 1 ? layer(t, h, act) : layer.pooled(t, h, {pool, pool, pool, 0}, act);
      }
      return stack(t, graph::dropout(h, dropout));
    }

    template <Scalar T>
    void prepare(parameters<T>& theta, const data::image_set& inputs,
                 std::span<const index_t> rows) const {
      scaling.fit(theta, inputs.channel_moments(rows));
    }
  };

  template <Scalar T>
  module build(parameters<T>& theta, const std::string& name, const image_shape& shape) const {
    constexpr const char* place = "encoder::convolutional";
    require_image(place, shape);
    require(!channels.empty(), place, "expected at least one convolution");
    module m{
        graph::image_scaling::make(theta, name + "/scaling", shape), {}, {}, pool, act, dropout};
    const image_window filter{kernel, kernel, 1, padding};
    image_shape image = shape;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      const std::string layer = name + "/convolution" + std::to_string(i);
      require_window(place, image, filter);
      m.layers.push_back(graph::convolution::make(theta, layer, image, channels[i], filter, act));
      image = m.layers.back().out;
      require_window(place, image, {pool, pool, pool, 0});
      image = image_window{pool, pool, pool, 0}.over(image, image.channels);
    }
    m.stack = graph::dense_stack::make(theta, name, image.size(), hidden, act, act, dropout);
    return m;
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("channels", channels);
    visit("kernel", kernel);
    visit("padding", padding);
    visit("pool", pool);
    visit("hidden", hidden);
    visit("activation", act);
    visit("dropout", dropout);
  }
};

}  // namespace vierbein::encoder
