// Directed message passing against the equations of Yang et al. (2019) in plain loops.
#include "vierbein/encoder/dmpnn.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../support/problems.hpp"
#include "vierbein/backend/cpu.hpp"
#include "vierbein/backend/reference.hpp"
#include "vierbein/graph/operations.hpp"
#include "vierbein/testing/gradient_check.hpp"

namespace vb = vierbein;
namespace vg = vierbein::graph;
using problems::normal_matrix;
using problems::random_graphs;
using vb::activation;
using vb::index_t;
using vb::data::graph_set;
using vb::encoder::dmpnn;
using vb::encoder::readout;

namespace {

using reference = vb::backend::reference_double;
using row = std::vector<double>;

std::vector<index_t> all_rows(index_t n) {
  std::vector<index_t> rows(static_cast<std::size_t>(n));
  std::iota(rows.begin(), rows.end(), index_t{0});
  return rows;
}

struct network {
  vb::parameters<double> theta;
  dmpnn::module module;
};

/// A network whose biases, too, are not zero.
network make(const dmpnn& encoder, const graph_set& graphs) {
  network n;
  n.module = encoder.build(n.theta, "trunk", graphs.shape());
  n.theta.initialise(11);
  for (vb::segment_id id = 0; id < static_cast<vb::segment_id>(n.theta.segments().size()); ++id) {
    const vb::segment& s = n.theta.at(id);
    if (s.init == vb::initialiser::zeros && !s.frozen) {
      const auto values = normal_matrix(s.rows, s.cols, 300 + static_cast<unsigned>(id));
      std::copy_n(values.data(), values.size(), n.theta.view(id).data);
    }
  }
  n.module.prepare(n.theta, graphs, all_rows(graphs.size()));
  return n;
}

template <class B = reference>
vb::matrix<double> represent(network& n, const graph_set& graphs, std::vector<index_t> rows = {}) {
  if (rows.empty()) {
    rows = all_rows(graphs.size());
  }
  graph_set::batch_type batch;
  graphs.gather(rows, batch);
  vg::tape<B> tape{B{}};
  tape.bind(n.theta.segments(), n.theta.values());
  tape.begin(vg::mode::evaluation);
  const auto b = n.module(tape, batch);
  vb::matrix<double> out(b.rows(), b.cols());
  tape.backend().download(b.value(), out.view());
  return out;
}

double apply(activation act, double x) {
  switch (act) {
    case activation::identity: return x;
    case activation::relu: return std::max(0.0, x);
    case activation::gelu: return x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)));
    case activation::silu: return x / (1 + std::exp(-x));
    case activation::tanh: return std::tanh(x);
  }
  return x;
}

/// b of graph g, edge by edge and node by node.
row naive(const network& n, const dmpnn& options, const graph_set& set, index_t g) {
  const auto hidden = static_cast<std::size_t>(options.hidden);
  const auto at = [&](const std::string& name) {
    return n.theta.view(n.theta.find("trunk/" + name));
  };
  // y += x W
  const auto add_product = [](row& y, const auto& x, vb::matrix_view<const double> w) {
    for (index_t c = 0; c < w.cols; ++c) {
      for (index_t r = 0; r < w.rows; ++r) {
        y[static_cast<std::size_t>(c)] +=
            static_cast<double>(x[static_cast<std::size_t>(r)]) * w(r, c);
      }
    }
  };
  const auto bias = [&](const std::string& name) {
    const auto b = at(name);
    return row(b.data, b.data + b.cols);
  };
  const auto act = [&](row v) {
    for (double& x : v) {
      x = apply(options.act, x);
    }
    return v;
  };
  const index_t first_node = set.node_offset[static_cast<std::size_t>(g)];
  const index_t last_node = set.node_offset[static_cast<std::size_t>(g) + 1];
  const index_t first_edge = set.edge_offset[static_cast<std::size_t>(g)];
  const index_t last_edge = set.edge_offset[static_cast<std::size_t>(g) + 1];
  const auto source = [&](index_t e) { return index_t{set.source[static_cast<std::size_t>(e)]}; };
  const auto target = [&](index_t e) { return index_t{set.target[static_cast<std::size_t>(e)]}; };
  const auto opposite = [&](index_t e) {
    return index_t{set.reverse[static_cast<std::size_t>(e)]};
  };
  const auto edges = static_cast<std::size_t>(last_edge - first_edge);

  std::vector<row> start(edges);
  std::vector<row> h(edges);
  for (index_t e = first_edge; e < last_edge; ++e) {
    const auto k = static_cast<std::size_t>(e - first_edge);
    start[k] = bias("edge/bias");
    add_product(start[k], set.node_features.row(source(e)), at("source/weight"));
    add_product(start[k], set.edge_features.row(e), at("edge/weight"));
    h[k] = act(start[k]);
  }
  for (index_t round = 1; round < options.depth; ++round) {
    std::vector<row> next(edges);
    for (index_t e = first_edge; e < last_edge; ++e) {
      // All messages into the source of e but the one along the opposite edge.
      row m(hidden, 0.0);
      for (index_t k = first_edge; k < last_edge; ++k) {
        if (target(k) == source(e) && k != opposite(e)) {
          for (std::size_t c = 0; c < hidden; ++c) {
            m[c] += h[static_cast<std::size_t>(k - first_edge)][c];
          }
        }
      }
      const auto k = static_cast<std::size_t>(e - first_edge);
      row z = start[k];
      add_product(z, m, at("message/weight"));
      const row b = bias("message/bias");
      for (std::size_t c = 0; c < hidden; ++c) {
        z[c] += b[c];
      }
      next[k] = act(z);
    }
    h = next;
  }
  row molecule(hidden, 0.0);
  for (index_t v = first_node; v < last_node; ++v) {
    row arrived(hidden, 0.0);
    for (index_t e = first_edge; e < last_edge; ++e) {
      if (target(e) == v) {
        for (std::size_t c = 0; c < hidden; ++c) {
          arrived[c] += h[static_cast<std::size_t>(e - first_edge)][c];
        }
      }
    }
    row z = bias("node/bias");
    add_product(z, set.node_features.row(v), at("node/weight"));
    add_product(z, arrived, at("incoming/weight"));
    z = act(z);
    for (std::size_t c = 0; c < hidden; ++c) {
      molecule[c] += z[c];
    }
  }
  const double divisor = options.readout == readout::mean
                             ? static_cast<double>(last_node - first_node)
                             : options.sum_scale;
  for (double& v : molecule) {
    v /= divisor;
  }
  for (index_t c = 0; c < set.features.cols(); ++c) {
    molecule.push_back((set.features(g, c) - at("scaling/mean")(0, c)) *
                       at("scaling/factor")(0, c));
  }
  for (std::size_t layer = 0; layer < options.widths.size(); ++layer) {
    const std::string name = "layer" + std::to_string(layer);
    row z = bias(name + "/bias");
    add_product(z, molecule, at(name + "/weight"));
    molecule = act(z);
  }
  return molecule;
}

void check_close(const vb::matrix<double>& b, index_t r, std::span<const double> expected) {
  REQUIRE(b.cols() == static_cast<index_t>(expected.size()));
  for (index_t c = 0; c < b.cols(); ++c) {
    // Sums of some dozen terms of size 1 to 10 in another order: far below 1e-11.
    CHECK(std::abs(b(r, c) - expected[static_cast<std::size_t>(c)]) <
          1e-12 * (10 + std::abs(expected[static_cast<std::size_t>(c)])));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("dmpnn agrees with a message for every edge and a sum for every node", B,
                   reference, vb::backend::cpu_double) {
  for (const index_t features : {0, 2}) {
    const graph_set graphs = random_graphs(12, 5, 3, 2, features);
    for (const auto how : {readout::mean, readout::sum}) {
      for (index_t depth = 1; depth <= 4; ++depth) {
        for (const activation act : {activation::relu, activation::silu, activation::tanh}) {
          CAPTURE(features);
          CAPTURE(depth);
          CAPTURE(static_cast<int>(how));
          CAPTURE(static_cast<int>(act));
          const dmpnn options{.hidden = 6,
                              .depth = depth,
                              .readout = how,
                              .sum_scale = 3,
                              .widths = {5, 4},
                              .act = act,
                              .dropout = 0.4};  // not in evaluation
          network n = make(options, graphs);
          CHECK(n.module.width() == 4);
          const auto b = represent<B>(n, graphs);
          for (index_t g = 0; g < graphs.size(); ++g) {
            check_close(b, g, naive(n, options, graphs, g));
          }
        }
      }
    }
  }
}

TEST_CASE("without layers behind the readout, b is the readout with the features") {
  const graph_set graphs = random_graphs(6, 8, 3, 2, 2);
  const dmpnn options{.hidden = 5, .depth = 2, .widths = {}};
  network n = make(options, graphs);
  CHECK(n.module.width() == 7);
  const auto b = represent(n, graphs);
  for (index_t g = 0; g < graphs.size(); ++g) {
    check_close(b, g, naive(n, options, graphs, g));
  }
}

TEST_CASE("a graph's representation does not depend on its batch") {
  const graph_set graphs = random_graphs(9, 21, 3, 2, 1);
  network n = make({.hidden = 7, .depth = 3, .widths = {6}}, graphs);
  const auto together = represent<vb::backend::cpu_double>(n, graphs);
  const std::vector<index_t> shuffled{4, 0, 8, 2, 2, 7, 1};
  const auto other = represent<vb::backend::cpu_double>(n, graphs, shuffled);
  for (std::size_t i = 0; i < shuffled.size(); ++i) {
    check_close(other, static_cast<index_t>(i), together.row(shuffled[i]));
  }
  for (index_t g = 0; g < graphs.size(); ++g) {
    check_close(represent<vb::backend::cpu_double>(n, graphs, {g}), 0, together.row(g));
  }
}

TEST_CASE("a graph's representation does not depend on how its nodes and edges are numbered") {
  const graph_set graphs = random_graphs(10, 33, 3, 2);
  network n = make({.hidden = 7, .depth = 4, .widths = {6}}, graphs);
  graph_set renumbered;
  renumbered.features = graphs.features;
  renumbered.node_offset = graphs.node_offset;
  renumbered.edge_offset = graphs.edge_offset;
  renumbered.node_features = graphs.node_features;
  renumbered.edge_features = graphs.edge_features;
  renumbered.source = graphs.source;
  renumbered.target = graphs.target;
  renumbered.reverse = graphs.reverse;
  for (index_t g = 0; g < graphs.size(); ++g) {
    const vb::random_stream stream{4, static_cast<std::uint64_t>(g)};
    const auto nodes = vb::random_permutation(graphs.node_count(g), stream.fork(0));
    const auto edges = vb::random_permutation(graphs.edge_count(g), stream.fork(1));
    const index_t first = graphs.node_offset[static_cast<std::size_t>(g)];
    const index_t first_edge = graphs.edge_offset[static_cast<std::size_t>(g)];
    const auto node = [&](std::int32_t v) {
      return static_cast<std::int32_t>(first + nodes[static_cast<std::size_t>(v - first)]);
    };
    const auto edge = [&](index_t e) {
      return static_cast<std::size_t>(first_edge + edges[static_cast<std::size_t>(e - first_edge)]);
    };
    for (index_t v = 0; v < graphs.node_count(g); ++v) {
      std::ranges::copy(
          graphs.node_features.row(first + v),
          renumbered.node_features.row(first + nodes[static_cast<std::size_t>(v)]).begin());
    }
    for (index_t e = first_edge; e < first_edge + graphs.edge_count(g); ++e) {
      const auto from = static_cast<std::size_t>(e);
      const std::size_t to = edge(e);
      renumbered.source[to] = node(graphs.source[from]);
      renumbered.target[to] = node(graphs.target[from]);
      renumbered.reverse[to] = static_cast<std::int32_t>(edge(graphs.reverse[from]));
      std::ranges::copy(graphs.edge_features.row(e),
                        renumbered.edge_features.row(static_cast<index_t>(to)).begin());
    }
  }
  CHECK(renumbered.source != graphs.source);
  const auto before = represent(n, graphs);
  const auto after = represent(n, renumbered);
  for (index_t g = 0; g < graphs.size(); ++g) {
    check_close(after, g, before.row(g));
  }
}

TEST_CASE("the gradient through dmpnn") {
  const auto check = [](const dmpnn& options, const graph_set& graphs,
                        const std::vector<index_t>& rows) {
    CAPTURE(options.depth);
    CAPTURE(static_cast<int>(options.readout));
    CAPTURE(static_cast<int>(options.act));
    CAPTURE(graphs.features.cols());
    network n = make(options, graphs);
    graph_set::batch_type batch;
    graphs.gather(rows, batch);
    const auto loss = [&](auto& tape) {
      const auto b = n.module(tape, batch);
      const auto r = normal_matrix(b.rows(), b.cols(), 98);
      return vg::sum(tape.upload(r.view()) * (b + 0.5 * vg::square(b)));
    };
    const auto report = vb::testing::check_gradient(n.theta, loss);
    CAPTURE(report.where);
    CAPTURE(report.swept);
    CHECK(report);
    CHECK(vb::testing::check_gradient(n.theta, loss, vb::backend::cpu_double{}));
  };
  // The fourth and eighth of these graphs have no edge.
  const graph_set plain = random_graphs(8, 3, 2, 2, 0);
  const graph_set with_features = random_graphs(8, 3, 2, 2, 2);
  REQUIRE(plain.edge_count(3) + plain.edge_count(7) == 0);
  for (const auto how : {readout::mean, readout::sum}) {
    for (index_t depth = 1; depth <= 4; ++depth) {
      check({.hidden = 3, .depth = depth, .readout = how, .widths = {3}, .act = activation::tanh},
            plain, all_rows(8));
    }
    for (const activation act : {activation::identity, activation::relu, activation::gelu,
                                 activation::silu, activation::tanh}) {
      check({.hidden = 3, .depth = 3, .readout = how, .widths = {3, 2}, .act = act, .dropout = 0.2},
            with_features, all_rows(8));
    }
    check({.hidden = 3, .readout = how, .widths = {2}}, plain, {0});
    check({.hidden = 3, .readout = how, .widths = {2}}, plain, {3, 7});
  }
}

TEST_CASE("graphs without any edge, and a graph without neighbours for one node") {
  graph_set graphs;
  problems::add_graph(graphs, 1, {});
  problems::add_graph(graphs, 3, {});
  problems::set_features(graphs, 3, 2, 0, 4);
  const dmpnn options{.hidden = 4, .widths = {3}};
  network n = make(options, graphs);
  const auto b = represent<vb::backend::cpu_double>(n, graphs);
  check_close(b, 0, naive(n, options, graphs, 0));
  check_close(b, 1, naive(n, options, graphs, 1));

  graph_set lonely;
  problems::add_graph(lonely, 4, {{1, 2}, {2, 3}});
  problems::set_features(lonely, 3, 2, 0, 9);
  network m = make(options, lonely);
  check_close(represent(m, lonely), 0, naive(m, options, lonely, 0));
}

TEST_CASE("a message never returns along its edge") {
  // On one edge, more than one round adds nothing but what the edge itself brings: the message of
  // either direction is W_h 0.
  graph_set pair;
  problems::add_graph(pair, 2, {{0, 1}});
  problems::set_features(pair, 3, 2, 0, 6);
  network shallow = make({.hidden = 4, .depth = 1, .widths = {3}}, pair);
  network deep = make({.hidden = 4, .depth = 4, .widths = {3}}, pair);
  for (network* n : {&shallow, &deep}) {
    const auto bias = n->theta.view(n->theta.find("trunk/message/bias"));
    std::fill_n(bias.data, bias.size(), 0.0);
  }
  CHECK(represent(shallow, pair) == represent(deep, pair));
}

TEST_CASE("impossible options are refused") {
  const graph_set graphs = random_graphs(2, 1);
  vb::parameters<double> theta;
  CHECK_THROWS_WITH_AS((dmpnn{.hidden = 0}.build(theta, "t", graphs.shape())),
                       "encoder::dmpnn: expected positive hidden and depth, found 0 and 3",
                       vb::error);
  CHECK_THROWS_AS((dmpnn{.depth = 0}.build(theta, "t", graphs.shape())), vb::error);
  CHECK_THROWS_WITH_AS((dmpnn{.sum_scale = 0}.build(theta, "t", graphs.shape())),
                       "encoder::dmpnn: sum_scale must be finite and positive, but is 0",
                       vb::error);
  CHECK_THROWS_WITH_AS(
      (dmpnn{}.build(theta, "t", {.feature_width = 3})),
      "encoder::dmpnn: expected at least one feature of nodes or edges, found none", vb::error);
}
