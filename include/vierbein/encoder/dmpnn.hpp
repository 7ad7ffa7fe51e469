// Directed message passing on graphs.
#pragma once

#include <array>

#include "vierbein/data/graphs.hpp"
#include "vierbein/encoder/concept.hpp"
#include "vierbein/graph/input_scaling.hpp"
#include "vierbein/graph/layers.hpp"
#include "vierbein/graph/structure.hpp"

namespace vierbein::encoder {

/// How the nodes of a graph become one vector. A sum grows with the graph, as extensive properties
/// do; it is divided by `dmpnn::sum_scale` to keep activations in range.
enum class readout { mean, sum };
constexpr auto option_names(readout) {
  return std::array{"mean", "sum"};
}

/// The directed message passing network of Yang et al. (2019), as in Chemprop. Messages live on
/// directed edges and never return along the edge they came:
///     h⁰_e     = act(W_i [x_source(e), y_e])
///     m_e      = Σ_{k enters source(e)} h_k - h_reverse(e)
///     h_e      = act(h⁰ before act + W_h m_e)                      depth - 1 times
///     h_v      = act(W_o [x_v, Σ_{e enters v} h_e])
///     b        = stack([readout_v h_v, f])
/// with node features x, edge features y and, when the data has them, features f of the whole
/// graph, standardised. W_i and W_o are kept as their two parts, so that nothing is concatenated. A
/// node without edges has the message 0.
struct dmpnn {
  using input_set = data::graph_set;
  static constexpr const char* kind = "dmpnn";

  index_t hidden = 128;  ///< width of messages
  index_t depth = 3;     ///< rounds of messages, the initial one included
  encoder::readout readout = encoder::readout::mean;
  double sum_scale = 10;             ///< divisor of readout::sum
  std::vector<index_t> widths{128};  ///< layers behind the readout; the last is the width of b
  activation act = activation::relu;
  double dropout = 0;  ///< on the readout and behind every layer but the last

  struct module {
    segment_id source_weight = -1, edge_weight = -1, edge_bias = -1;    // the parts of W_i
    graph::linear message;                                              // W_h
    segment_id node_weight = -1, incoming_weight = -1, node_bias = -1;  // the parts of W_o
    graph::input_scaling scaling;
    graph::dense_stack stack;
    index_t depth = 0;
    encoder::readout readout{};
    double sum_scale = 1;
    activation act{};
    double dropout = 0;
    bool has_features = false;

    [[nodiscard]] index_t width() const { return stack.width; }

    template <Backend B>
    graph::var<B> operator()(graph::tape<B>& t, const data::graph_set::batch_type& g) const {
      using namespace graph;
      const auto x = t.upload(g.node_features.view());
      const auto y = t.upload(g.edge_features.view());
      const index_t nodes = x.rows();

      const var<B> node_weights[] = {t.parameter(source_weight), t.parameter(node_weight)};
      const auto both = affine_shared<B>(x, node_weights, {});  // x W for edges and for nodes
      const auto from_source =
          gather_rows(slice_rows(both, 0, nodes), g.source, g.out_begin, g.out_edges);
      const auto first = affine(y, t.parameter(edge_weight), t.parameter(edge_bias),
                                activation::identity, from_source);
      auto h = activate(first, act);
      for (index_t round = 1; round < depth; ++round) {
        const auto arrived = segment_sum(h, g.in_begin, g.in_edges, g.target);
        const auto m = edge_messages(arrived, h, g.source, g.reverse, g.out_begin, g.out_edges);
        h = message(t, m, act, first);
      }
      const auto incoming = segment_sum(h, g.in_begin, g.in_edges, g.target);
      const auto at_node = affine(incoming, t.parameter(incoming_weight), t.parameter(node_bias),
                                  act, slice_rows(both, nodes, nodes));
      auto molecule = readout == encoder::readout::mean
                          ? segment_mean(at_node, g.graph_begin, g.graph_of)
                          : (1 / sum_scale) * segment_sum(at_node, g.graph_begin, g.graph_of);
      molecule = graph::dropout(molecule, dropout);
      if (has_features) {
        const var<B> parts[] = {molecule, scaling(t, g.features)};
        molecule = concatenate_cols<B>(parts);
      }
      return stack(t, molecule);
    }

    template <Scalar T>
    void prepare(parameters<T>& theta, const data::graph_set& inputs,
                 std::span<const index_t> rows) const {
      if (has_features) {
        scaling.fit(theta, inputs.features, rows);
      }
    }
  };

  template <Scalar T>
  module build(parameters<T>& theta, const std::string& name,
               const data::graph_set::shape_type& shape) const {
    require(hidden > 0 && depth > 0, "encoder::dmpnn",
            "expected positive hidden and depth, found {} and {}", hidden, depth);
    require_positive(sum_scale, "sum_scale", "encoder::dmpnn");
    require(shape.node_width + shape.edge_width > 0, "encoder::dmpnn",
            "expected at least one feature of nodes or edges, found none");
    module m;
    m.source_weight = theta.add(name + "/source/weight", shape.node_width, hidden, initialiser::he);
    m.edge_weight = theta.add(name + "/edge/weight", shape.edge_width, hidden, initialiser::he);
    m.edge_bias = theta.add(name + "/edge/bias", 1, hidden, initialiser::zeros);
    m.message = graph::linear::make(theta, name + "/message", hidden, hidden, act);
    m.node_weight = theta.add(name + "/node/weight", shape.node_width, hidden, initialiser::he);
    m.incoming_weight = theta.add(name + "/incoming/weight", hidden, hidden, initialiser::he);
    m.node_bias = theta.add(name + "/node/bias", 1, hidden, initialiser::zeros);
    m.has_features = shape.feature_width > 0;
    if (m.has_features) {
      m.scaling = graph::input_scaling::make(theta, name + "/scaling", shape.feature_width);
    }
    m.stack = graph::dense_stack::make(theta, name, hidden + shape.feature_width, widths, act, act,
                                       dropout);
    m.depth = depth;
    m.readout = readout;
    m.sum_scale = sum_scale;
    m.act = act;
    m.dropout = dropout;
    return m;
  }

  template <class Visitor>
  void options(Visitor&& visit) {
    visit("hidden", hidden);
    visit("depth", depth);
    visit("readout", readout);
    visit("sum_scale", sum_scale);
    visit("widths", widths);
    visit("activation", act);
    visit("dropout", dropout);
  }
};

}  // namespace vierbein::encoder
