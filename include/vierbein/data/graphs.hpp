// Graph inputs: many graphs, one behind the other, each with directed edges that come in opposite
// pairs (a chemical bond is two of them).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/data/rows.hpp"

namespace vierbein::data {

/// A set of graphs. Edge e runs from node `source[e]` to node `target[e]`; `reverse[e]` is the edge
/// that runs the other way. Nodes and edges are numbered through the whole set; those of graph g
/// are [node_offset[g], node_offset[g+1]) and [edge_offset[g], edge_offset[g+1]).
struct graph_set {
  matrix<float> node_features;        ///< (nodes, node width)
  matrix<float> edge_features;        ///< (directed edges, edge width)
  std::vector<std::int32_t> source;   ///< (directed edges)
  std::vector<std::int32_t> target;   ///< (directed edges)
  std::vector<std::int32_t> reverse;  ///< (directed edges)
  std::vector<index_t> node_offset{0};
  std::vector<index_t> edge_offset{0};
  matrix<double> features;  ///< optional dense features of a whole graph, (graphs, k); may be empty

  /// What an encoder needs to know before the first batch.
  struct shape_type {
    index_t node_width = 0;
    index_t edge_width = 0;
    index_t feature_width = 0;
    bool operator==(const shape_type&) const = default;
    [[nodiscard]] std::string describe() const {
      return formatted("{} node, {} edge and {} graph features", node_width, edge_width,
                       feature_width);
    }

    template <class Visitor>
    void options(Visitor&& visit) {
      visit("node_width", node_width);
      visit("edge_width", edge_width);
      visit("feature_width", feature_width);
    }
  };

  [[nodiscard]] index_t size() const { return parts(node_offset); }
  [[nodiscard]] shape_type shape() const {
    return {node_features.cols(), edge_features.cols(), features.cols()};
  }

  /// A batch of graphs as one disconnected graph. The compressed sparse rows (`*_begin`, `*_edges`)
  /// list for every node the edges that enter and leave it, in ascending order.
  struct batch_type {
    matrix<float> node_features;
    matrix<float> edge_features;
    std::vector<std::int32_t> source, target, reverse;
    std::vector<std::int32_t> in_begin, in_edges;    ///< (nodes + 1), (edges): edges into a node
    std::vector<std::int32_t> out_begin, out_edges;  ///< (nodes + 1), (edges): edges out of a node
    std::vector<std::int32_t> graph_begin;           ///< (graphs + 1): first node of a graph
    std::vector<std::int32_t> graph_of;              ///< (nodes): the graph a node belongs to
    matrix<double> features;
    [[nodiscard]] index_t size() const { return parts(graph_begin); }
    /// See encoder/concept.hpp.
    template <class F>
    void each_array(F&& f) const {
      for (const matrix<float>* m : {&node_features, &edge_features}) {
        f(m->view());
      }
      f(features.view());
      for (const std::vector<std::int32_t>* v : {&source, &target, &reverse, &in_begin, &in_edges,
                                                 &out_begin, &out_edges, &graph_begin, &graph_of}) {
        f(std::span(*v));
      }
    }
  };

  /// Copies the graphs `rows` into `batch`, which keeps its memory from call to call.
  void gather(std::span<const index_t> rows, batch_type& batch) const {
    index_t nodes = 0;
    index_t edges = 0;
    for (const index_t g : rows) {
      nodes += node_count(g);
      edges += edge_count(g);
    }
    const auto edge_total = static_cast<std::size_t>(edges);
    batch.node_features.resize(nodes, node_features.cols());
    batch.edge_features.resize(edges, edge_features.cols());
    batch.source.resize(edge_total);
    batch.target.resize(edge_total);
    batch.reverse.resize(edge_total);
    batch.graph_begin.resize(rows.size() + 1);
    batch.graph_of.resize(static_cast<std::size_t>(nodes));
    batch.features.resize(static_cast<index_t>(rows.size()), features.cols());
    index_t node = 0;
    index_t edge = 0;
    batch.graph_begin[0] = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const index_t g = rows[i];
      const index_t first_node = node_offset[static_cast<std::size_t>(g)];
      const index_t first_edge = edge_offset[static_cast<std::size_t>(g)];
      std::copy_n(node_features.data() + first_node * node_features.cols(),
                  node_count(g) * node_features.cols(),
                  batch.node_features.data() + node * node_features.cols());
      std::copy_n(edge_features.data() + first_edge * edge_features.cols(),
                  edge_count(g) * edge_features.cols(),
                  batch.edge_features.data() + edge * edge_features.cols());
      const auto node_shift = static_cast<std::int32_t>(node - first_node);
      const auto edge_shift = static_cast<std::int32_t>(edge - first_edge);
      for (index_t e = 0; e < edge_count(g); ++e) {
        const auto from = static_cast<std::size_t>(first_edge + e);
        const auto to = static_cast<std::size_t>(edge + e);
        batch.source[to] = source[from] + node_shift;
        batch.target[to] = target[from] + node_shift;
        batch.reverse[to] = reverse[from] + edge_shift;
      }
      std::fill_n(batch.graph_of.begin() + node, node_count(g), static_cast<std::int32_t>(i));
      std::copy_n(features.data() + g * features.cols(), features.cols(),
                  batch.features.data() + static_cast<index_t>(i) * features.cols());
      node += node_count(g);
      edge += edge_count(g);
      batch.graph_begin[i + 1] = static_cast<std::int32_t>(node);
    }
    list_edges(batch.target, nodes, batch.in_begin, batch.in_edges);
    list_edges(batch.source, nodes, batch.out_begin, batch.out_edges);
  }

  /// The graphs `rows` as a set of their own. Throws for a row that is not there.
  [[nodiscard]] graph_set select(std::span<const index_t> rows) const {
    require_rows(rows, size(), "graphs");
    batch_type batch;
    gather(rows, batch);
    graph_set chosen;
    chosen.node_features = std::move(batch.node_features);
    chosen.edge_features = std::move(batch.edge_features);
    chosen.source = std::move(batch.source);
    chosen.target = std::move(batch.target);
    chosen.reverse = std::move(batch.reverse);
    chosen.features = std::move(batch.features);
    chosen.node_offset.assign(batch.graph_begin.begin(), batch.graph_begin.end());
    for (const index_t g : rows) {
      chosen.edge_offset.push_back(chosen.edge_offset.back() + edge_count(g));
    }
    return chosen;
  }

  /// Adds the graphs of `other` behind these. A set without graphs takes any widths.
  void append(const graph_set& other) {
    if (&other == this) {
      return append(graph_set(other));
    }
    if (size() == 0) {
      *this = other;
      return;
    }
    if (other.size() == 0) {
      return;
    }
    require(shape() == other.shape(), "graphs", "expected {} as before, found {}",
            shape().describe(), other.shape().describe());
    const index_t nodes = node_offset.back();
    const index_t edges = edge_offset.back();
    constexpr index_t most = std::numeric_limits<std::int32_t>::max();
    require(nodes + other.node_offset.back() <= most && edges + other.edge_offset.back() <= most,
            "graphs", "a set holds at most {} nodes and as many edges", most);
    const auto add = [](auto& to, const auto& from, index_t shift) {
      to.reserve(to.size() + from.size());
      for (const auto v : from) {
        to.push_back(static_cast<std::int32_t>(v + shift));
      }
    };
    const auto add_offsets = [](std::vector<index_t>& to, const std::vector<index_t>& from) {
      const index_t shift = to.back();
      for (std::size_t i = 1; i < from.size(); ++i) {
        to.push_back(from[i] + shift);
      }
    };
    append_rows(node_features, other.node_features, "node features");
    append_rows(edge_features, other.edge_features, "edge features");
    append_rows(features, other.features, "graph features");
    add(source, other.source, nodes);
    add(target, other.target, nodes);
    add(reverse, other.reverse, edges);
    add_offsets(node_offset, other.node_offset);
    add_offsets(edge_offset, other.edge_offset);
  }

  /// Throws at the first fault: offsets that do not divide all nodes and edges among the graphs,
  /// arrays or features of another length, an edge that leaves its graph, a reverse that does not
  /// run the other way, a feature that is NaN or infinite.
  void check() const {
    check_offsets(node_offset, "node_offset");
    check_offsets(edge_offset, "edge_offset");
    require(edge_offset.size() == node_offset.size(), "graphs",
            "expected {} numbers in edge_offset, as many as in node_offset, found {}",
            node_offset.size(), edge_offset.size());
    const index_t edges = edge_offset.back();
    check_rows(node_features, node_offset.back(), "node features");
    check_rows(edge_features, edges, "edge features");
    check_rows(features, size(), "graph features");
    for (const auto& [numbers, name] :
         {std::pair{&source, "source"}, {&target, "target"}, {&reverse, "reverse"}}) {
      require(static_cast<index_t>(numbers->size()) == edges, "graphs",
              "expected {} numbers in {}, one an edge, found {}", edges, name, numbers->size());
    }
    for (index_t g = 0; g < size(); ++g) {
      check_edges(g);
    }
    require_finite(node_features, "node features");
    require_finite(edge_features, "edge features");
    require_finite(features, "graph features");
  }

  [[nodiscard]] index_t node_count(index_t graph) const {
    const auto g = static_cast<std::size_t>(graph);
    return node_offset[g + 1] - node_offset[g];
  }
  [[nodiscard]] index_t edge_count(index_t graph) const {
    const auto g = static_cast<std::size_t>(graph);
    return edge_offset[g + 1] - edge_offset[g];
  }

 private:
  // How many parts so many offsets divide: one less, where there are any.
  template <class Offset>
  static index_t parts(const std::vector<Offset>& offsets) {
    return static_cast<index_t>(offsets.size()) - (offsets.empty() ? 0 : 1);
  }

  static void check_offsets(const std::vector<index_t>& offsets, const char* name) {
    require(!offsets.empty(), "graphs", "expected {} to begin with 0, but it is empty", name);
    require(offsets.front() == 0, "graphs", "expected {} to begin with 0, found {}", name,
            offsets.front());
    const auto fall = std::ranges::is_sorted_until(offsets);
    if (fall != offsets.end()) {
      throw error("graphs", formatted("expected {} never to fall, found {} behind {}", name,
                                      fall[0], fall[-1]));
    }
  }

  // Without columns there is nothing to read: then any number of rows will do.
  template <class T>
  static void check_rows(const matrix<T>& values, index_t rows, const char* name) {
    require(values.cols() == 0 || values.rows() == rows, name, "expected {} rows, found {}", rows,
            values.rows());
  }

  void check_edges(index_t graph) const {
    const auto g = static_cast<std::size_t>(graph);
    const auto refuse = [](index_t edge, const std::string& problem) {
      throw error(formatted("graphs, edge {} (counted from 0)", edge), problem);
    };
    for (index_t edge = edge_offset[g]; edge < edge_offset[g + 1]; ++edge) {
      const auto e = static_cast<std::size_t>(edge);
      if (node_count(graph) == 0) {
        refuse(edge, "expected none in a graph without nodes");
      }
      for (const index_t node : {source[e], target[e]}) {
        if (node < node_offset[g] || node >= node_offset[g + 1]) {
          refuse(edge, formatted("expected nodes {} to {} of its graph, found {}", node_offset[g],
                                 node_offset[g + 1] - 1, node));
        }
      }
      const index_t back = reverse[e];
      if (back < edge_offset[g] || back >= edge_offset[g + 1]) {
        refuse(edge,
               formatted("expected its reverse among the edges {} to {} of its graph, found {}",
                         edge_offset[g], edge_offset[g + 1] - 1, back));
      }
      const auto r = static_cast<std::size_t>(back);
      if (source[r] != target[e] || target[r] != source[e]) {
        refuse(edge, formatted("expected its reverse to run from node {} to node {}, found edge {} "
                               "from {} to {}",
                               target[e], source[e], back, source[r], target[r]));
      }
      if (reverse[r] != edge) {
        refuse(edge, formatted("expected to be the reverse of its reverse, edge {}, found edge {} "
                               "there",
                               back, reverse[r]));
      }
    }
  }

  // Compressed sparse rows of `edges by node`: a counting sort, stable, so edges stay in order.
  static void list_edges(const std::vector<std::int32_t>& node_of_edge, index_t nodes,
                         std::vector<std::int32_t>& begin, std::vector<std::int32_t>& edges) {
    begin.assign(static_cast<std::size_t>(nodes) + 1, 0);
    edges.resize(node_of_edge.size());
    for (const std::int32_t v : node_of_edge) {
      ++begin[static_cast<std::size_t>(v) + 1];
    }
    for (std::size_t v = 1; v < begin.size(); ++v) {
      begin[v] += begin[v - 1];
    }
    for (std::size_t e = 0; e < node_of_edge.size(); ++e) {
      edges[static_cast<std::size_t>(begin[static_cast<std::size_t>(node_of_edge[e])]++)] =
          static_cast<std::int32_t>(e);
    }
    for (std::size_t v = begin.size() - 1; v > 0; --v) {
      begin[v] = begin[v - 1];
    }
    begin[0] = 0;
  }
};

}  // namespace vierbein::data
