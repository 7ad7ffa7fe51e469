// Fully connected layers as shapes: they name their parameters once and are written forward only.
#pragma once

#include <string>
#include <vector>

#include "vierbein/graph/affine.hpp"
#include "vierbein/graph/noise.hpp"
#include "vierbein/graph/structure.hpp"

namespace vierbein::graph {

/// y = act(x W + 1 b) with W (in, out) and b (1, out), called "<name>/weight" and "<name>/bias".
struct linear {
  segment_id weight = -1;
  segment_id bias = -1;

  template <Scalar T>
  static linear make(parameters<T>& theta, const std::string& name, index_t in, index_t out,
                     activation act = activation::identity) {
    const bool rectified = act != activation::identity && act != activation::tanh;
    return {theta.add(name + "/weight", in, out, rectified ? initialiser::he : initialiser::glorot),
            theta.add(name + "/bias", 1, out, initialiser::zeros)};
  }

  template <Backend B>
  var<B> operator()(tape<B>& t, var<B> x, activation act = activation::identity,
                    var<B> addend = {}) const {
    return affine(x, t.parameter(weight), t.parameter(bias), act, addend);
  }
};

/// Layers one after the other, `act` after each but the last, which has `last_act`. Without layers,
/// the identity.
struct dense_stack {
  std::vector<linear> layers;
  activation act = activation::relu;
  activation last_act = activation::identity;
  double dropout = 0;  ///< behind every layer but the last
  index_t width = 0;   ///< of the output

  /// `widths` are the outputs of the layers, called "<name>/layer0", "<name>/layer1", ...
  template <Scalar T>
  static dense_stack make(parameters<T>& theta, const std::string& name, index_t in,
                          const std::vector<index_t>& widths, activation act, activation last_act,
                          double dropout = 0) {
    dense_stack stack{{}, act, last_act, dropout, in};
    for (std::size_t i = 0; i < widths.size(); ++i) {
      stack.layers.push_back(linear::make(theta, name + "/layer" + std::to_string(i), stack.width,
                                          widths[i], i + 1 < widths.size() ? act : last_act));
      stack.width = widths[i];
    }
    return stack;
  }

  [[nodiscard]] activation act_of(std::size_t layer) const {
    return layer + 1 < layers.size() ? act : last_act;
  }

  template <Backend B>
  var<B> operator()(tape<B>& t, var<B> x) const {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      x = layers[i](t, x, act_of(i));
      if (i + 1 < layers.size()) {
        x = graph::dropout(x, dropout);
      }
    }
    return x;
  }
};

/// The same stack of several tasks at once: all first layers in one group of products, all second
/// layers in the next. With `shared`, x (n, in) is the input of every task, and block t of the
/// result must serve task t alone; else x (tasks · n, in) is stacked. The result (tasks · n, out)
/// is stacked.
template <Backend B>
var<B> stacked_tasks(tape<B>& t, std::span<const dense_stack* const> tasks, var<B> x, bool shared) {
  const dense_stack& first = *tasks[0];
  const auto count = static_cast<index_t>(tasks.size());
  if (first.layers.empty()) {
    if (!shared || count == 1) {
      return x;
    }
    const auto copies = t.template host_array<index_t>(count);
    return select_blocks<B>(x, x.rows(), copies, true);
  }
  auto weights = t.template host_array<var<B>>(count);
  auto biases = t.template host_array<var<B>>(count);
  for (std::size_t i = 0; i < first.layers.size(); ++i) {
    for (std::size_t k = 0; k < tasks.size(); ++k) {
      weights[k] = t.parameter(tasks[k]->layers[i].weight);
      biases[k] = t.parameter(tasks[k]->layers[i].bias);
    }
    x = shared && i == 0 ? affine_shared<B>(x, weights, biases, first.act_of(i), true)
                         : affine_stacked<B>(x, weights, biases, first.act_of(i));
    if (i + 1 < first.layers.size()) {
      x = graph::dropout(x, first.dropout);
    }
  }
  return x;
}

}  // namespace vierbein::graph
