#include "vierbein/chem/graph.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace chem = vierbein::chem;
using at = chem::atom_features;
using bond = chem::bond_features;
using strings = std::vector<std::string>;
using vierbein::index_t;

namespace {

vierbein::data::graph_set graphs_of(const strings& smiles) {
  return chem::graphs(chem::read_smiles(smiles));
}

// The position within [begin, end) of the only 1 there; -1 when it is not the only entry.
index_t hot(std::span<const float> features, index_t begin, index_t end) {
  index_t found = -1;
  for (index_t i = begin; i < end; ++i) {
    const float value = features[static_cast<std::size_t>(i)];
    if (value == 0) {
      continue;
    }
    if (value != 1 || found >= 0) {
      return -1;
    }
    found = i - begin;
  }
  return found;
}

}  // namespace

TEST_CASE("ethanol: nodes, edges in pairs, and the features of each atom") {
  const auto g = graphs_of({"CCO"});
  CHECK(g.size() == 1);
  CHECK(g.shape() == vierbein::data::graph_set::shape_type{at::width, bond::width, 0});
  CHECK(g.source == std::vector<std::int32_t>{0, 1, 1, 2});
  CHECK(g.target == std::vector<std::int32_t>{1, 0, 2, 1});
  CHECK(g.reverse == std::vector<std::int32_t>{1, 0, 3, 2});

  const index_t elements[] = {2, 2, 4};  // C C O among H B C N O
  const index_t degrees[] = {4, 4, 2};   // with hydrogens
  const index_t hydrogens[] = {3, 2, 1};
  const float masses[] = {0.12011F, 0.12011F, 0.15999F};
  for (index_t v = 0; v < 3; ++v) {
    CAPTURE(v);
    const auto f = g.node_features.row(v);
    CHECK(hot(f, at::element, at::degree) == elements[v]);
    CHECK(hot(f, at::degree, at::charge) == degrees[v]);
    CHECK(hot(f, at::charge, at::chirality) == 2);
    CHECK(hot(f, at::chirality, at::hydrogens) == 0);
    CHECK(hot(f, at::hydrogens, at::hybridisation) == hydrogens[v]);
    CHECK(hot(f, at::hybridisation, at::aromatic) == 2);
    CHECK(f[at::aromatic] == 0);
    CHECK(f[at::mass] == doctest::Approx(masses[v]).epsilon(1e-4));
  }
  for (index_t e = 0; e < 4; ++e) {
    const auto f = g.edge_features.row(e);
    CHECK(hot(f, bond::type, bond::conjugated) == 0);
    CHECK(f[bond::conjugated] == 0);
    CHECK(f[bond::ring] == 0);
    CHECK(hot(f, bond::stereo, bond::width) == 0);
  }
}

TEST_CASE("benzene is aromatic, conjugated and a ring") {
  const auto g = graphs_of({"C1=CC=CC=C1"});
  CHECK(g.node_count(0) == 6);
  CHECK(g.edge_count(0) == 12);
  for (index_t v = 0; v < 6; ++v) {
    const auto f = g.node_features.row(v);
    CHECK(f[at::aromatic] == 1);
    CHECK(hot(f, at::hybridisation, at::aromatic) == 1);
    CHECK(hot(f, at::degree, at::charge) == 3);
  }
  for (index_t e = 0; e < 12; ++e) {
    const auto f = g.edge_features.row(e);
    CHECK(hot(f, bond::type, bond::conjugated) == 3);
    CHECK(f[bond::conjugated] == 1);
    CHECK(f[bond::ring] == 1);
  }
}

TEST_CASE("methane has a node and no edge, alone and among others") {
  const auto alone = graphs_of({"C"});
  CHECK(alone.node_count(0) == 1);
  CHECK(alone.edge_count(0) == 0);
  CHECK(alone.edge_features.rows() == 0);
  CHECK(alone.edge_features.cols() == bond::width);
  CHECK(hot(alone.node_features.row(0), at::hydrogens, at::hybridisation) == 4);

  const auto g = graphs_of({"CC", "C", "C#N"});
  CHECK(g.node_offset == std::vector<index_t>{0, 2, 3, 5});
  CHECK(g.edge_offset == std::vector<index_t>{0, 2, 2, 4});
  CHECK(g.source == std::vector<std::int32_t>{0, 1, 3, 4});
  CHECK(g.reverse == std::vector<std::int32_t>{1, 0, 3, 2});
  CHECK(hot(g.edge_features.row(2), bond::type, bond::conjugated) == 2);
  CHECK(hot(g.node_features.row(4), at::hybridisation, at::aromatic) == 0);
  vierbein::data::graph_set::batch_type batch;
  const std::vector<index_t> rows{2, 1};
  g.gather(rows, batch);
  CHECK(batch.size() == 2);
  CHECK(batch.source == std::vector<std::int32_t>{0, 1});
  CHECK(batch.graph_of == std::vector<std::int32_t>{0, 0, 1});
}

TEST_CASE("charges, other elements and hybridisations") {
  const auto g = graphs_of({"[NH4+]", "[O-]C=O", "[Fe+3]", "FS(F)(F)(F)(F)F", "[SeH2]", "*"});
  const auto charge = [&](index_t v) {
    return hot(g.node_features.row(v), at::charge, at::chirality);
  };
  const auto element = [&](index_t v) {
    return hot(g.node_features.row(v), at::element, at::degree);
  };
  CHECK(charge(0) == 3);
  CHECK(charge(1) == 1);
  CHECK(charge(2) == 2);
  CHECK(hot(g.edge_features.row(2), bond::type, bond::conjugated) == 1);  // C=O
  CHECK(g.edge_features.row(2)[bond::conjugated] == 1);
  CHECK(element(4) == 13);  // iron is another element
  CHECK(charge(4) == 5);    // and its charge beyond the list
  const index_t sulphur = 6;
  CHECK(element(sulphur) == 8);
  CHECK(hot(g.node_features.row(sulphur), at::degree, at::charge) == 6);  // six: "other"
  CHECK(hot(g.node_features.row(sulphur), at::hybridisation, at::aromatic) == 4);
  CHECK(element(12) == 12);
  CHECK(element(13) == 13);  // a dummy atom
}

TEST_CASE("stereochemistry of atoms and bonds") {
  const auto g = graphs_of({"N[C@@H](C)C(=O)O", "N[C@H](C)C(=O)O", "C/C=C/C", "C/C=C\\C"});
  const auto first = hot(g.node_features.row(1), at::chirality, at::hydrogens);
  const auto second = hot(g.node_features.row(7), at::chirality, at::hydrogens);
  CHECK(std::min(first, second) == 1);
  CHECK(std::max(first, second) == 2);
  const index_t trans = g.edge_offset[2] + 2;
  const index_t cis = g.edge_offset[3] + 2;
  CHECK(hot(g.edge_features.row(trans), bond::stereo, bond::width) == 3);  // E
  CHECK(hot(g.edge_features.row(cis), bond::stereo, bond::width) == 2);    // Z
}

TEST_CASE("every group of every molecule is one-hot, and reverse is an involution") {
  const auto g = graphs_of({"CC(=O)Oc1ccccc1C(=O)O", "[Na+].[Cl-]", "C[Si](C)(C)O[Si](C)(C)C",
                            "O=P(O)(O)O", "BrC1=CSC(I)=C1", "[H][H]", "C[N+](C)(C)CC([O-])=O",
                            "OB(O)c1ccncc1", "[2H]C([2H])([2H])[2H]"});
  REQUIRE(g.size() == 9);
  for (index_t v = 0; v < g.node_features.rows(); ++v) {
    const auto f = g.node_features.row(v);
    const index_t groups[] = {at::element,   at::degree,        at::charge,  at::chirality,
                              at::hydrogens, at::hybridisation, at::aromatic};
    for (int i = 0; i < 6; ++i) {
      CHECK(hot(f, groups[i], groups[i + 1]) >= 0);
    }
  }
  const auto edges = static_cast<std::int32_t>(g.source.size());
  for (std::int32_t e = 0; e < edges; ++e) {
    const auto i = static_cast<std::size_t>(e);
    const auto r = static_cast<std::size_t>(g.reverse[i]);
    CHECK(g.reverse[i] != e);
    CHECK(g.reverse[r] == e);
    CHECK(g.source[i] == g.target[r]);
    CHECK(std::ranges::equal(g.edge_features.row(e), g.edge_features.row(g.reverse[i])));
    CHECK(hot(g.edge_features.row(e), bond::type, bond::conjugated) >= 0);
    CHECK(hot(g.edge_features.row(e), bond::stereo, bond::width) >= 0);
  }
}

TEST_CASE("graphs of no molecules") {
  const auto g = graphs_of({});
  CHECK(g.size() == 0);
  CHECK(g.shape().node_width == at::width);
}
