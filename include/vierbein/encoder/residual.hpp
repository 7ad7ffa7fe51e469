// A small residual network.
#pragma once

#include <vector>

#include "vierbein/data/images.hpp"
#include "vierbein/encoder/concept.hpp"
#include "vierbein/graph/convolution.hpp"
#include "vierbein/graph/elementwise.hpp"
#include "vierbein/graph/image_layers.hpp"
#include "vierbein/graph/layers.hpp"
#include "vierbein/graph/pooling.hpp"

namespace vierbein::encoder {

/// The residual network of He et al. (2016) in small:
///     h = act(norm(W_0 * x))                                   the stem, 3 x 3
///     h = act(norm(W_2 * act(norm(W_1 * h))) + shortcut(h))    `blocks` times in every stage
///     b = stack(mean of h over all pixels)
/// Filters are 3 x 3 with one pixel of padding. From the second stage on a stage's first block
/// moves in steps of 2 pixels, which halves the image. The shortcut is the identity, or a 1 x 1
/// convolution where step or channels change.
///
/// `norm` is layer normalisation over the channels of a pixel (graph::channel_norm) and not batch
/// normalisation: no sample then depends on its batch, gradients exist in evaluation mode, and
/// there are no running statistics that a combination of parameter updates would have to treat
/// apart. Without it (`normalise` = false) convolutions have a bias instead.
struct residual {
  using input_set = data::image_set;
  static constexpr const char* kind = "residual";

  std::vector<index_t> channels{16, 32, 64};  ///< of the stages
  index_t blocks = 1;                         ///< in every stage
  bool normalise = true;
  std::vector<index_t> hidden{};  ///< fully connected layers behind the mean; may be empty
  activation act = activation::relu;
  double dropout = 0;  ///< on the mean and behind every fully connected layer but the last

  /// A convolution and the normalisation of its output.
  struct normalised_convolution {
    graph::convolution filter;
    graph::channel_normalisation norm;

    template <Scalar T>
    static normalised_convolution make(parameters<T>& theta, const std::string& name,
                                       const image_shape& in, index_t channels,
                                       const image_window& window, activation act, bool normalise) {
      normalised_convolution made{
          graph::convolution::make(theta, name, in, channels, window, act, !normalise), {}};
      if (normalise) {
        made.norm = graph::channel_normalisation::make(theta, name, made.filter.out);
      }
      return made;
    }

    template <Backend B>
    graph::var<B> operator()(graph::tape<B>& t, graph::var<B> x) const {
      const auto y = filter(t, x);
      return norm.gain >= 0 ? norm(t, y) : y;
    }
  };

  struct block {
    normalised_convolution first, second;
    graph::convolution projection;  ///< of the shortcut; without a weight it is the identity
  };

  struct module {
    graph::image_scaling scaling;
    normalised_convolution stem;
    std::vector<block> blocks;
    graph::dense_stack stack;
    activation act{};
    double dropout = 0;

    [[nodiscard]] index_t width() const { return stack.width; }
    [[nodiscard]] const image_shape& last_image() const {
      return blocks.empty() ? stem.filter.out : blocks.back().second.filter.out;
    }

    template <Backend B>
    graph::var<B> operator()(graph::tape<B>& t, const data::image_set::batch_type& batch) const {
      auto h = graph::activate(stem(t, scaling(t, batch.values.view())), act);
      for (const block& one : blocks) {
        const auto inner = one.second(t, graph::activate(one.first(t, h), act));
        const auto shortcut = one.projection.weight >= 0 ? one.projection(t, h) : h;
        h = graph::activate(inner + shortcut, act);
      }
      const auto mean = graph::global_average_pool(h, last_image());
      return stack(t, graph::dropout(mean, dropout));
    }

    template <Scalar T>
    void prepare(parameters<T>& theta, const data::image_set& inputs,
                 std::span<const index_t> rows) const {
      scaling.fit(theta, inputs.channel_moments(rows));
    }
  };

  template <Scalar T>
  module build(parameters<T>& theta, const std::string& name, const image_shape& shape) const {
    constexpr const char* place = "encoder::residual";
    require_image(place, shape);
    require(!channels.empty() && blocks > 0, place,
            "expected at least one stage and one block, found {} and {}", channels.size(), blocks);
    for (const index_t c : channels) {
      require(c > (normalise ? 1 : 0), place, "expected at least {} channels in a stage, found {}",
              normalise ? 2 : 1, c);
    }
    module m{graph::image_scaling::make(theta, name + "/scaling", shape), {}, {}, {}, act, dropout};
    const image_window filter{3, 3, 1, 1};
    m.stem = normalised_convolution::make(theta, name + "/stem", shape, channels[0], filter, act,
                                          normalise);
    for (std::size_t stage = 0; stage < channels.size(); ++stage) {
      for (index_t i = 0; i < blocks; ++i) {
        const std::string prefix =
            name + "/stage" + std::to_string(stage) + "/block" + std::to_string(i);
        const image_shape in = m.last_image();
        const index_t step = stage > 0 && i == 0 ? 2 : 1;
        block one;
        one.first = normalised_convolution::make(theta, prefix + "/first", in, channels[stage],
                                                 {3, 3, step, 1}, act, normalise);
        one.second = normalised_convolution::make(theta, prefix + "/second", one.first.filter.out,
                                                  channels[stage], filter, act, normalise);
        if (step != 1 || in.channels != channels[stage]) {
          one.projection =
              graph::convolution::make(theta, prefix + "/shortcut", in, channels[stage],
                                       {1, 1, step, 0}, activation::identity, false);
        }
        m.blocks.push_back(one);
      }
    }
    m.stack = graph::dense_stack::make(theta, name, channels.back(), hidden, act, act, dropout);
    return m;
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("channels", channels);
    visit("blocks", blocks);
    visit("normalise", normalise);
    visit("hidden", hidden);
    visit("activation", act);
    visit("dropout", dropout);
  }
};

}  // namespace vierbein::encoder
