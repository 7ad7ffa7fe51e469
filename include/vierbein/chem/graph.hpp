// Molecules as graphs with features of atoms and bonds.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>

#include "vierbein/chem/molecules.hpp"
#include "vierbein/chem/rdkit.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/data/graphs.hpp"

namespace vierbein::chem {

/// The atomic numbers of H B C N O F Si P S Cl Br I Se: each has its own feature.
inline constexpr std::array<int, 13> atom_elements{1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 35, 53, 34};

/// Where an atom's features begin. All but the last two are one-hot; "other" is the last of a
/// group.
struct atom_features {
  static constexpr index_t element = 0;         ///< atom_elements, other
  static constexpr index_t degree = 14;         ///< neighbours with hydrogens: 0 ... 5, other
  static constexpr index_t charge = 21;         ///< formal charge: -2 ... 2, other
  static constexpr index_t chirality = 27;      ///< none, clockwise, counter-clockwise, other
  static constexpr index_t hydrogens = 31;      ///< 0 ... 4, other
  static constexpr index_t hybridisation = 37;  ///< sp, sp2, sp3, sp3d, sp3d2, other
  static constexpr index_t aromatic = 43;       ///< 0 or 1
  static constexpr index_t mass = 44;           ///< in units of 100 u
  static constexpr index_t width = 45;
};

/// Where a bond's features begin.
struct bond_features {
  static constexpr index_t type = 0;        ///< single, double, triple, aromatic, other
  static constexpr index_t conjugated = 5;  ///< 0 or 1
  static constexpr index_t ring = 6;        ///< 0 or 1
  static constexpr index_t stereo = 7;      ///< none, any, Z, E, cis, trans
  static constexpr index_t width = 13;
};

namespace detail {

/// Sets the feature of the first choice that equals `value`, or the one behind all of them.
template <class T>
void one_hot(float* features, std::span<const T> choices, T value) {
  const auto it = std::find(choices.begin(), choices.end(), value);
  features[it - choices.begin()] = 1;
}

/// The features of an atom into `f`, which holds atom_features::width zeros.
inline void describe_atom(const RDKit::Atom& atom, float* f) {
  using RDKit::Atom;
  static constexpr std::array<int, 6> counts{0, 1, 2, 3, 4, 5};
  static constexpr std::array<int, 5> charges{-2, -1, 0, 1, 2};
  static constexpr std::array<Atom::ChiralType, 3> tags{
      Atom::CHI_UNSPECIFIED, Atom::CHI_TETRAHEDRAL_CW, Atom::CHI_TETRAHEDRAL_CCW};
  static constexpr std::array<Atom::HybridizationType, 5> hybrids{Atom::SP, Atom::SP2, Atom::SP3,
                                                                  Atom::SP3D, Atom::SP3D2};
  using at = atom_features;
  one_hot<int>(f + at::element, atom_elements, atom.getAtomicNum());
  one_hot<int>(f + at::degree, counts, static_cast<int>(atom.getTotalDegree()));
  one_hot<int>(f + at::charge, charges, atom.getFormalCharge());
  one_hot<Atom::ChiralType>(f + at::chirality, tags, atom.getChiralTag());
  one_hot<int>(f + at::hydrogens, std::span(counts).first<5>(),
               static_cast<int>(atom.getTotalNumHs(true)));
  one_hot<Atom::HybridizationType>(f + at::hybridisation, hybrids, atom.getHybridization());
  f[at::aromatic] = atom.getIsAromatic() ? 1.0F : 0.0F;
  f[at::mass] = static_cast<float>(atom.getMass() / 100);
}

/// The features of a bond into `f`, which holds bond_features::width zeros.
inline void describe_bond(const RDKit::Bond& bond, bool in_ring, float* f) {
  using RDKit::Bond;
  static constexpr std::array<Bond::BondType, 4> types{Bond::SINGLE, Bond::DOUBLE, Bond::TRIPLE,
                                                       Bond::AROMATIC};
  static constexpr std::array<Bond::BondStereo, 5> stereo{
      Bond::STEREONONE, Bond::STEREOANY, Bond::STEREOZ, Bond::STEREOE, Bond::STEREOCIS};
  using at = bond_features;
  one_hot<Bond::BondType>(f + at::type, types, bond.getBondType());
  f[at::conjugated] = bond.getIsConjugated() ? 1.0F : 0.0F;
  f[at::ring] = in_ring ? 1.0F : 0.0F;
  one_hot<Bond::BondStereo>(f + at::stereo, stereo, bond.getStereo());
}

}  // namespace detail

/// The molecules as graphs, with features after those of Chemprop (Yang et al. 2019). Nodes are the
/// heavy atoms in RDKit's order. Bond b of a molecule is its edges 2b and 2b + 1, which run in
/// opposite directions and have the same features. A molecule of one atom has no edge.
inline data::graph_set graphs(const molecule_set& set) {
  data::graph_set result;
  for (index_t m = 0; m < set.size(); ++m) {
    result.node_offset.push_back(result.node_offset.back() +
                                 static_cast<index_t>(set[m].getNumAtoms()));
    result.edge_offset.push_back(result.edge_offset.back() +
                                 2 * static_cast<index_t>(set[m].getNumBonds()));
  }
  const index_t nodes = result.node_offset.back();
  const index_t edges = result.edge_offset.back();
  require(std::max(nodes, edges) <= std::numeric_limits<std::int32_t>::max(), "chem::graphs",
          "{} atoms and {} directed bonds are more than a set of graphs can number", nodes, edges);
  result.node_features = matrix<float>(nodes, atom_features::width);
  result.edge_features = matrix<float>(edges, bond_features::width);
  result.features = matrix<double>(set.size(), 0);
  result.source.resize(static_cast<std::size_t>(edges));
  result.target.resize(static_cast<std::size_t>(edges));
  result.reverse.resize(static_cast<std::size_t>(edges));
  detail::for_each_molecule(set, [&](index_t m, const RDKit::ROMol& molecule) {
    const index_t first_node = result.node_offset[static_cast<std::size_t>(m)];
    const index_t first_edge = result.edge_offset[static_cast<std::size_t>(m)];
    for (const RDKit::Atom* atom : molecule.atoms()) {
      const index_t node = first_node + static_cast<index_t>(atom->getIdx());
      detail::describe_atom(*atom, result.node_features.row(node).data());
    }
    const RDKit::RingInfo& rings = *molecule.getRingInfo();
    for (const RDKit::Bond* bond : molecule.bonds()) {
      const auto forth = first_edge + 2 * static_cast<index_t>(bond->getIdx());
      const auto back = forth + 1;
      const auto i = static_cast<std::size_t>(forth);
      result.source[i] = static_cast<std::int32_t>(first_node + bond->getBeginAtomIdx());
      result.target[i] = static_cast<std::int32_t>(first_node + bond->getEndAtomIdx());
      result.source[i + 1] = result.target[i];
      result.target[i + 1] = result.source[i];
      result.reverse[i] = static_cast<std::int32_t>(back);
      result.reverse[i + 1] = static_cast<std::int32_t>(forth);
      float* features = result.edge_features.row(forth).data();
      detail::describe_bond(*bond, rings.numBondRings(bond->getIdx()) > 0, features);
      std::copy_n(features, bond_features::width, result.edge_features.row(back).data());
    }
  });
  return result;
}

}  // namespace vierbein::chem
