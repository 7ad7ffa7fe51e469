// Small random inputs and problems that the tests of encoders, models and training share.
#pragma once

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/matrix.hpp"
#include "vierbein/core/random.hpp"
#include "vierbein/data/dataset.hpp"
#include "vierbein/data/features.hpp"
#include "vierbein/data/graphs.hpp"

namespace problems {

using vierbein::index_t;
using vierbein::matrix;

inline constexpr double missing = std::numeric_limits<double>::quiet_NaN();

/// Independent standard normal numbers.
template <class T = double>
matrix<T> normal_matrix(index_t rows, index_t cols, std::uint64_t which) {
  matrix<T> m(rows, cols);
  const vierbein::random_stream stream{2310, which};
  for (index_t i = 0; i < m.size(); ++i) {
    m.data()[i] = static_cast<T>(stream.normal(static_cast<std::uint64_t>(i)));
  }
  return m;
}

/// Appends a graph of `nodes` nodes with the given undirected edges; features stay to be set.
inline void add_graph(vierbein::data::graph_set& set, index_t nodes,
                      const std::vector<std::array<index_t, 2>>& edges) {
  const auto first = static_cast<std::int32_t>(set.node_offset.back());
  for (const auto& [u, v] : edges) {
    const auto e = static_cast<std::int32_t>(set.source.size());
    const auto a = first + static_cast<std::int32_t>(u);
    const auto b = first + static_cast<std::int32_t>(v);
    set.source.insert(set.source.end(), {a, b});
    set.target.insert(set.target.end(), {b, a});
    set.reverse.insert(set.reverse.end(), {e + 1, e});
  }
  set.node_offset.push_back(set.node_offset.back() + nodes);
  set.edge_offset.push_back(static_cast<index_t>(set.source.size()));
}

/// Gives all nodes, edges and graphs random features of the given widths.
inline void set_features(vierbein::data::graph_set& set, index_t node_width, index_t edge_width,
                         index_t feature_width, std::uint64_t which) {
  set.node_features = normal_matrix<float>(set.node_offset.back(), node_width, 3 * which);
  set.edge_features = normal_matrix<float>(set.edge_offset.back(), edge_width, 3 * which + 1);
  set.features = normal_matrix(set.size(), feature_width, 3 * which + 2);
}

/// Random graphs of 1 to 7 nodes: some with rings, some disconnected, some without any edge.
inline vierbein::data::graph_set random_graphs(index_t count, std::uint64_t which,
                                               index_t node_width = 3, index_t edge_width = 2,
                                               index_t feature_width = 0) {
  vierbein::data::graph_set set;
  const vierbein::random_stream stream{77, which};
  std::uint64_t draw = 0;
  for (index_t g = 0; g < count; ++g) {
    const auto nodes = 1 + static_cast<index_t>(7 * stream.uniform(draw++));
    const double share = g % 4 == 3 ? 0.0 : 0.45;
    std::vector<std::array<index_t, 2>> edges;
    for (index_t u = 0; u < nodes; ++u) {
      for (index_t v = u + 1; v < nodes; ++v) {
        if (stream.uniform(draw++) < share) {
          edges.push_back(g % 2 == 0 ? std::array{u, v} : std::array{v, u});
        }
      }
    }
    add_graph(set, nodes, edges);
  }
  set_features(set, node_width, edge_width, feature_width, which);
  return set;
}

/// Several tasks on the same features: y_t = a + b tanh(x · w + d_t x · v) with tasks that resemble
/// each other. Every task has its own mean and scale.
inline vierbein::data::dataset<vierbein::data::feature_set> related_tasks(
    index_t rows, index_t width, const std::vector<std::string>& names, std::uint64_t which,
    std::uint64_t rows_from = 0) {
  vierbein::data::dataset<vierbein::data::feature_set> data;
  data.inputs.values = normal_matrix(rows, width, 1000 + 31 * which + rows_from);
  const auto w = normal_matrix(2, width, 500 + which);
  for (std::size_t t = 0; t < names.size(); ++t) {
    std::vector<double> y(static_cast<std::size_t>(rows));
    const double own = 0.3 * static_cast<double>(t);
    for (index_t r = 0; r < rows; ++r) {
      double common = 0;
      double other = 0;
      for (index_t c = 0; c < width; ++c) {
        common += w(0, c) * data.inputs.values(r, c);
        other += w(1, c) * data.inputs.values(r, c);
      }
      const double scale = std::sqrt(static_cast<double>(width));
      y[static_cast<std::size_t>(r)] =
          100.0 * static_cast<double>(t) +
          (1 + 9.0 * static_cast<double>(t)) * std::tanh((common + own * other) / scale);
    }
    data.add(names[t], y);
  }
  return data;
}

/// Tasks on random graphs: y_t depends on the nodes' and edges' features, and on their number.
inline vierbein::data::dataset<vierbein::data::graph_set> graph_tasks(
    index_t count, const std::vector<std::string>& names, std::uint64_t which,
    index_t feature_width = 0) {
  vierbein::data::dataset<vierbein::data::graph_set> data{
      random_graphs(count, which, 4, 3, feature_width)};
  const auto& g = data.inputs;
  for (std::size_t t = 0; t < names.size(); ++t) {
    std::vector<double> y(static_cast<std::size_t>(count), 0.0);
    for (index_t k = 0; k < count; ++k) {
      for (index_t v = g.node_offset[static_cast<std::size_t>(k)];
           v < g.node_offset[static_cast<std::size_t>(k) + 1]; ++v) {
        y[static_cast<std::size_t>(k)] +=
            1 + static_cast<double>(g.node_features(v, 0)) +
            0.2 * static_cast<double>(t) * static_cast<double>(g.node_features(v, 1));
      }
      for (index_t e = g.edge_offset[static_cast<std::size_t>(k)];
           e < g.edge_offset[static_cast<std::size_t>(k) + 1]; ++e) {
        y[static_cast<std::size_t>(k)] += 0.5 * static_cast<double>(g.edge_features(e, 0));
      }
    }
    data.add(names[t], y);
  }
  return data;
}

}  // namespace problems
