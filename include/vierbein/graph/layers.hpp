// Fully connected layers as shapes: they name their parameters once and are written forward only.
#pragma once

#include <algorithm>
#include <numeric>
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

  /// `widths` are the outputs of the layers, called "<name>/layer0", "<name>/layer1", ... Throws
  /// for a width below 1, and for a `dropout` outside of [0, 1).
  template <Scalar T>
  static dense_stack make(parameters<T>& theta, const std::string& name, index_t in,
                          const std::vector<index_t>& widths, activation act, activation last_act,
                          double dropout = 0) {
    require_within(0, 1, dropout, "dropout", name.c_str());
    dense_stack stack{{}, act, last_act, dropout, in};
    for (std::size_t i = 0; i < widths.size(); ++i) {
      require(widths[i] >= 1, name.c_str(), "the width of layer {} must be at least 1, but is {}",
              i, widths[i]);
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

/// The same stack of several tasks at once, task k on block from[k] of x, of n rows. A block may
/// serve several tasks, and a task may occur several times. The results (tasks · n, out) are
/// stacked. `by_task` promises that block t of the result serves task t alone; x is then one block.
template <Backend B>
var<B> stacked_tasks(tape<B>& t, std::span<const dense_stack* const> tasks, var<B> x, index_t n,
                     std::span<const index_t> from, bool by_task = false) {
  require(!tasks.empty() && from.size() == tasks.size(), "stacked_tasks", "{} blocks for {} tasks",
          from.size(), tasks.size());
  const dense_stack& first = *tasks[0];
  const auto count = static_cast<index_t>(tasks.size());
  const auto depth = static_cast<index_t>(first.layers.size());
  auto weights = t.template host_array<var<B>>(depth * count);
  auto biases = t.template host_array<var<B>>(depth * count);
  auto acts = t.template host_array<activation>(depth);
  for (std::size_t i = 0; i < first.layers.size(); ++i) {
    acts[i] = first.act_of(i);
    for (std::size_t k = 0; k < tasks.size(); ++k) {
      weights[i * tasks.size() + k] = t.parameter(tasks[k]->layers[i].weight);
      biases[i * tasks.size() + k] = t.parameter(tasks[k]->layers[i].bias);
    }
  }
  // Dropout parts the chains.
  const index_t together = first.dropout > 0 && t.training() ? 1 : depth;
  for (index_t i = 0; i < depth; i += together) {
    if (i > 0) {
      x = graph::dropout(x, first.dropout);
      auto own = t.template host_array<index_t>(count);
      std::iota(own.begin(), own.end(), index_t{0});
      from = own;
    }
    const auto part = [&](std::span<const var<B>> all) {
      return all.subspan(static_cast<std::size_t>(i * count),
                         static_cast<std::size_t>(together * count));
    };
    x = affine_chains<B>(x, n, from, part(weights), part(biases),
                         std::span<const activation>(acts).subspan(
                             static_cast<std::size_t>(i), static_cast<std::size_t>(together)),
                         by_task && i == 0);
  }
  return depth > 0 ? x : select_blocks<B>(x, n, from, by_task);
}

/// The same with x (n, in) as the input of every task, block t of the result serving task t alone;
/// or, not `shared`, on the rows of x (tasks · n, in), which are stacked.
template <Backend B>
var<B> stacked_tasks(tape<B>& t, std::span<const dense_stack* const> tasks, var<B> x, bool shared) {
  const auto count = static_cast<index_t>(tasks.size());
  if (tasks[0]->layers.empty() && (!shared || count == 1)) {
    return x;
  }
  auto from = t.template host_array<index_t>(count);
  if (!shared) {
    require(x.rows() % count == 0, "stacked_tasks", "{} rows are not divisible among {} tasks",
            x.rows(), count);
    std::iota(from.begin(), from.end(), index_t{0});
  }
  return stacked_tasks<B>(t, tasks, x, shared ? x.rows() : x.rows() / count, from, shared);
}

}  // namespace vierbein::graph
