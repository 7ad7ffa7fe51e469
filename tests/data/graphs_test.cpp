#include "vierbein/data/graphs.hpp"

#include <doctest/doctest.h>

#include <array>
#include <functional>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../support/message_of.hpp"

using vierbein::index_t;
using vierbein::data::graph_set;

namespace {

// Appends a graph with `nodes` nodes and the given bonds, each as two opposite edges. A node's
// features are (its graph, its number within the graph), an edge's feature is its number in the
// set.
void append(graph_set& set, index_t nodes, const std::vector<std::pair<int, int>>& bonds) {
  const index_t first_node = set.node_offset.back();
  const index_t first_edge = set.edge_offset.back();
  const auto edges = static_cast<index_t>(2 * bonds.size());
  const auto grown = [](const vierbein::matrix<float>& old, index_t rows, index_t cols) {
    vierbein::matrix<float> larger(rows, cols);
    std::copy_n(old.data(), old.size(), larger.data());
    return larger;
  };
  set.node_features = grown(set.node_features, first_node + nodes, 2);
  set.edge_features = grown(set.edge_features, first_edge + edges, 1);
  for (index_t v = 0; v < nodes; ++v) {
    set.node_features(first_node + v, 0) = static_cast<float>(set.size());
    set.node_features(first_node + v, 1) = static_cast<float>(v);
  }
  const auto shift = static_cast<std::int32_t>(first_node);
  for (const auto& [a, b] : bonds) {
    const auto e = static_cast<std::int32_t>(set.source.size());
    set.source.insert(set.source.end(), {a + shift, b + shift});
    set.target.insert(set.target.end(), {b + shift, a + shift});
    set.reverse.insert(set.reverse.end(), {e + 1, e});
    set.edge_features(e, 0) = static_cast<float>(e);
    set.edge_features(e + 1, 0) = static_cast<float>(e + 1);
  }
  set.node_offset.push_back(first_node + nodes);
  set.edge_offset.push_back(first_edge + edges);
}

// A path of three nodes, a single node without edges, a triangle, a star with three leaves.
graph_set four_graphs() {
  graph_set set;
  append(set, 3, {{0, 1}, {1, 2}});
  append(set, 1, {});
  append(set, 3, {{0, 1}, {1, 2}, {2, 0}});
  append(set, 4, {{0, 1}, {0, 2}, {0, 3}});
  return set;
}

template <class T>
std::vector<T> slice(const std::vector<T>& values, std::int32_t begin, std::int32_t end) {
  return {values.begin() + begin, values.begin() + end};
}

// What must hold of every batch.
void check_consistent(const graph_set::batch_type& batch) {
  const auto edges = static_cast<std::int32_t>(batch.source.size());
  const auto nodes = static_cast<std::int32_t>(batch.node_features.rows());
  REQUIRE(batch.edge_features.rows() == edges);
  REQUIRE(static_cast<std::int32_t>(batch.target.size()) == edges);
  REQUIRE(static_cast<std::int32_t>(batch.reverse.size()) == edges);
  for (std::size_t e = 0; e < batch.source.size(); ++e) {
    const auto r = static_cast<std::size_t>(batch.reverse[e]);
    REQUIRE(r < batch.source.size());
    CHECK(batch.reverse[r] == static_cast<std::int32_t>(e));
    CHECK(batch.source[r] == batch.target[e]);
    CHECK(batch.target[r] == batch.source[e]);
    CHECK(batch.graph_of[static_cast<std::size_t>(batch.source[e])] ==
          batch.graph_of[static_cast<std::size_t>(batch.target[e])]);
  }
  const auto check_lists = [&](const auto& begin, const auto& list, const auto& node_of) {
    REQUIRE(static_cast<std::int32_t>(begin.size()) == nodes + 1);
    CHECK(begin.front() == 0);
    CHECK(begin.back() == edges);
    for (std::int32_t v = 0; v < nodes; ++v) {
      std::vector<std::int32_t> expected;
      for (std::int32_t e = 0; e < edges; ++e) {
        if (node_of[static_cast<std::size_t>(e)] == v) {
          expected.push_back(e);
        }
      }
      CHECK(slice(list, begin[static_cast<std::size_t>(v)],
                  begin[static_cast<std::size_t>(v) + 1]) == expected);
    }
  };
  check_lists(batch.in_begin, batch.in_edges, batch.target);
  check_lists(batch.out_begin, batch.out_edges, batch.source);
  REQUIRE(batch.graph_begin.front() == 0);
  REQUIRE(batch.graph_begin.back() == nodes);
  for (index_t g = 0; g < batch.size(); ++g) {
    const auto i = static_cast<std::size_t>(g);
    for (std::int32_t v = batch.graph_begin[i]; v < batch.graph_begin[i + 1]; ++v) {
      CHECK(batch.graph_of[static_cast<std::size_t>(v)] == g);
    }
  }
}

}  // namespace

TEST_CASE("a set of graphs knows its sizes") {
  const graph_set set = four_graphs();
  CHECK(set.size() == 4);
  CHECK(set.shape() == graph_set::shape_type{2, 1, 0});
  CHECK(set.node_count(2) == 3);
  CHECK(set.edge_count(2) == 6);
  CHECK(set.edge_count(1) == 0);
  CHECK(graph_set{}.size() == 0);
  graph_set empty;
  empty.node_offset.clear();
  CHECK(empty.size() == 0);
  CHECK(graph_set::batch_type{}.size() == 0);
}

TEST_CASE("a batch renumbers nodes and edges") {
  const graph_set set = four_graphs();
  graph_set::batch_type batch;
  set.gather(std::array<index_t, 3>{3, 1, 0}, batch);
  check_consistent(batch);
  CHECK(batch.size() == 3);
  CHECK(batch.graph_begin == std::vector<std::int32_t>{0, 4, 5, 8});
  CHECK(batch.source == std::vector<std::int32_t>{0, 1, 0, 2, 0, 3, 5, 6, 6, 7});
  CHECK(batch.target == std::vector<std::int32_t>{1, 0, 2, 0, 3, 0, 6, 5, 7, 6});
  CHECK(batch.node_features(0, 0) == 3);
  CHECK(batch.node_features(4, 0) == 1);
  CHECK(batch.node_features(7, 0) == 0);
  CHECK(batch.node_features(7, 1) == 2);
  CHECK(batch.edge_features(0, 0) == 10);  // the star's first edge
  CHECK(batch.edge_features(6, 0) == 0);   // the path's
  CHECK(slice(batch.in_edges, batch.in_begin[0], batch.in_begin[1]) ==
        std::vector<std::int32_t>{1, 3, 5});
}

TEST_CASE("a graph may come twice in a batch") {
  const graph_set set = four_graphs();
  graph_set::batch_type batch;
  set.gather(std::array<index_t, 3>{2, 2, 1}, batch);
  check_consistent(batch);
  CHECK(batch.node_features.rows() == 7);
  CHECK(batch.edge_features.rows() == 12);
}

TEST_CASE("a batch can be filled again, larger, smaller or empty") {
  const graph_set set = four_graphs();
  graph_set::batch_type batch;
  for (const std::vector<index_t>& rows :
       {std::vector<index_t>{0}, {0, 1, 2, 3}, {1}, {}, {3, 0}}) {
    set.gather(rows, batch);
    check_consistent(batch);
    CHECK(batch.size() == static_cast<index_t>(rows.size()));
  }
}

TEST_CASE("dense features of a graph travel with it") {
  graph_set set = four_graphs();
  set.features = vierbein::matrix<double>(4, 2);
  for (index_t g = 0; g < 4; ++g) {
    set.features(g, 0) = static_cast<double>(g);
    set.features(g, 1) = static_cast<double>(10 * g);
  }
  CHECK(set.shape().feature_width == 2);
  graph_set::batch_type batch;
  set.gather(std::array<index_t, 2>{2, 0}, batch);
  CHECK(batch.features.rows() == 2);
  CHECK(batch.features(0, 1) == 20);
  CHECK(batch.features(1, 1) == 0);
}

TEST_CASE("selected graphs are a set of their own with the same content") {
  const graph_set set = four_graphs();
  const graph_set chosen = set.select(std::array<index_t, 3>{3, 1, 2});
  CHECK(chosen.size() == 3);
  CHECK(chosen.node_offset == std::vector<index_t>{0, 4, 5, 8});
  CHECK(chosen.edge_offset == std::vector<index_t>{0, 6, 6, 12});
  graph_set::batch_type from_chosen;
  graph_set::batch_type from_set;
  chosen.gather(std::array<index_t, 2>{2, 0}, from_chosen);
  set.gather(std::array<index_t, 2>{2, 3}, from_set);
  check_consistent(from_chosen);
  CHECK(from_chosen.node_features == from_set.node_features);
  CHECK(from_chosen.edge_features == from_set.edge_features);
  CHECK(from_chosen.source == from_set.source);
  CHECK(from_chosen.in_edges == from_set.in_edges);
}

TEST_CASE("select refuses graphs that are not there") {
  const graph_set set = four_graphs();
  for (const index_t row : {-1, 4}) {
    CHECK(test::message_of([&] { (void)set.select(std::array{index_t{0}, row}); }) ==
          "graphs: no row " + std::to_string(row) + " among 4 samples");
  }
}

TEST_CASE("check accepts graphs as they should be") {
  CHECK_NOTHROW(graph_set{}.check());
  graph_set set = four_graphs();
  CHECK_NOTHROW(set.check());
  set.features = vierbein::matrix<double>(4, 2);
  CHECK_NOTHROW(set.check());
  set.edge_features = {};  // no features, so no rows
  CHECK_NOTHROW(set.check());
  graph_set loops;  // an edge may be the reverse of itself
  append(loops, 1, {});
  loops.edge_features = vierbein::matrix<float>(1, 1);
  loops.source = loops.target = loops.reverse = {0};
  loops.edge_offset = {0, 1};
  CHECK_NOTHROW(loops.check());
}

// Nodes of the four graphs begin at 0, 3, 4 and 7 and end at 11, edges at 0, 4, 4 and 10 and end at
// 16.
TEST_CASE("check refuses arrays that do not make graphs") {
  const auto said = [](const std::function<void(graph_set&)>& spoil) {
    graph_set set = four_graphs();
    spoil(set);
    return test::message_of([&] { set.check(); });
  };
  // offsets
  CHECK(said([](auto& s) { s.node_offset = {}; }) ==
        "graphs: expected node_offset to begin with 0, but it is empty");
  CHECK(said([](auto& s) { s.edge_offset = {}; }) ==
        "graphs: expected edge_offset to begin with 0, but it is empty");
  CHECK(said([](auto& s) { s.node_offset[0] = 1; }) ==
        "graphs: expected node_offset to begin with 0, found 1");
  CHECK(said([](auto& s) { s.edge_offset[3] = 3; }) ==
        "graphs: expected edge_offset never to fall, found 3 behind 4");
  CHECK(said([](auto& s) { s.edge_offset.pop_back(); }) ==
        "graphs: expected 5 numbers in edge_offset, as many as in node_offset, found 4");
  CHECK(said([](auto& s) { s.node_offset.back() = 12; }) ==
        "node features: expected 12 rows, found 11");
  CHECK(said([](auto& s) { s.edge_offset.back() = 15; }) ==
        "edge features: expected 15 rows, found 16");
  // lengths
  CHECK(said([](auto& s) { s.features = vierbein::matrix<double>(3, 1); }) ==
        "graph features: expected 4 rows, found 3");
  CHECK(said([](auto& s) { s.source.pop_back(); }) ==
        "graphs: expected 16 numbers in source, one an edge, found 15");
  CHECK(said([](auto& s) { s.target.push_back(0); }) ==
        "graphs: expected 16 numbers in target, one an edge, found 17");
  CHECK(said([](auto& s) { s.reverse.clear(); }) ==
        "graphs: expected 16 numbers in reverse, one an edge, found 0");
  // edges
  CHECK(said([](auto& s) { s.source[12] = 6; }) ==
        "graphs, edge 12 (counted from 0): expected nodes 7 to 10 of its graph, found 6");
  CHECK(said([](auto& s) { s.target[4] = 7; }) ==
        "graphs, edge 4 (counted from 0): expected nodes 4 to 6 of its graph, found 7");
  CHECK(said([](auto& s) { s.target[0] = -1; }) ==
        "graphs, edge 0 (counted from 0): expected nodes 0 to 2 of its graph, found -1");
  CHECK(said([](auto& s) { s.node_offset = {0, 0, 4, 7, 11}; }) ==
        "graphs, edge 0 (counted from 0): expected none in a graph without nodes");
  for (const int back : {3, 10}) {
    CHECK(said([&](auto& s) { s.reverse[4] = back; }) ==
          "graphs, edge 4 (counted from 0): expected its reverse among the edges 4 to 9 of its "
          "graph, found " +
              std::to_string(back));
  }
  CHECK(said([](auto& s) { s.reverse[0] = 2; }) ==
        "graphs, edge 0 (counted from 0): expected its reverse to run from node 1 to node 0, found "
        "edge 2 from 1 to 2");
  CHECK(said([](auto& s) {  // bond 1 as bond 0 once more
          s.source[2] = 0;
          s.target[2] = 1;
          s.source[3] = 1;
          s.target[3] = 0;
          s.reverse[0] = 3;
        }) ==
        "graphs, edge 0 (counted from 0): expected to be the reverse of its reverse, edge 3, found "
        "edge 2 there");
  CHECK(said([](auto& s) { s.node_features(2, 1) = std::numeric_limits<float>::infinity(); }) ==
        "node features, row 2, column 1 (counted from 0): expected a finite number, found inf");
}
