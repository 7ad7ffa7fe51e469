// Physico-chemical descriptors of molecules.
#pragma once

#include <array>
#include <cmath>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "vierbein/chem/molecules.hpp"
#include "vierbein/chem/rdkit.hpp"
#include "vierbein/core/matrix.hpp"

namespace vierbein::chem {

namespace detail {

/// Number of atoms of an element, implicit hydrogens included.
template <int AtomicNumber>
double count_element(const RDKit::ROMol& molecule) {
  unsigned count = 0;
  for (const RDKit::Atom* atom : molecule.atoms()) {
    count += atom->getAtomicNum() == AtomicNumber ? 1U : 0U;
    if constexpr (AtomicNumber == 1) {
      count += atom->getTotalNumHs();
    }
  }
  return count;
}

struct descriptor {
  std::string_view name;
  double (*value)(const RDKit::ROMol&);
};

inline constexpr auto descriptor_table = [] {
  namespace d = RDKit::Descriptors;
  using mol = const RDKit::ROMol&;
  return std::to_array<descriptor>({
      {"exact_mass", [](mol m) { return d::calcExactMW(m); }},
      {"heavy_atoms", [](mol m) { return double(m.getNumHeavyAtoms()); }},
      {"formal_charge", [](mol m) { return double(RDKit::MolOps::getFormalCharge(m)); }},
      {"tpsa", [](mol m) { return d::calcTPSA(m); }},
      {"labute_asa", [](mol m) { return d::calcLabuteASA(m); }},
      {"crippen_log_p", [](mol m) { return d::calcClogP(m); }},
      {"crippen_mr", [](mol m) { return d::calcMR(m); }},
      {"hbond_donors", [](mol m) { return double(d::calcNumHBD(m)); }},
      {"hbond_acceptors", [](mol m) { return double(d::calcNumHBA(m)); }},
      {"rotatable_bonds", [](mol m) { return double(d::calcNumRotatableBonds(m)); }},
      {"amide_bonds", [](mol m) { return double(d::calcNumAmideBonds(m)); }},
      {"heteroatoms", [](mol m) { return double(d::calcNumHeteroatoms(m)); }},
      {"rings", [](mol m) { return double(d::calcNumRings(m)); }},
      {"aromatic_rings", [](mol m) { return double(d::calcNumAromaticRings(m)); }},
      {"aliphatic_rings", [](mol m) { return double(d::calcNumAliphaticRings(m)); }},
      {"saturated_rings", [](mol m) { return double(d::calcNumSaturatedRings(m)); }},
      {"heterocycles", [](mol m) { return double(d::calcNumHeterocycles(m)); }},
      {"spiro_atoms", [](mol m) { return double(d::calcNumSpiroAtoms(m)); }},
      {"bridgehead_atoms", [](mol m) { return double(d::calcNumBridgeheadAtoms(m)); }},
      {"fraction_csp3", [](mol m) { return d::calcFractionCSP3(m); }},
      {"chi0v", [](mol m) { return d::calcChi0v(m); }},
      {"chi1v", [](mol m) { return d::calcChi1v(m); }},
      {"chi2v", [](mol m) { return d::calcChi2v(m); }},
      {"chi3v", [](mol m) { return d::calcChi3v(m); }},
      {"chi0n", [](mol m) { return d::calcChi0n(m); }},
      {"chi1n", [](mol m) { return d::calcChi1n(m); }},
      {"kappa1", [](mol m) { return d::calcKappa1(m); }},
      {"kappa2", [](mol m) { return d::calcKappa2(m); }},
      {"kappa3", [](mol m) { return d::calcKappa3(m); }},
      {"hall_kier_alpha", [](mol m) { return d::calcHallKierAlpha(m); }},
      {"count_h", count_element<1>},
      {"count_c", count_element<6>},
      {"count_n", count_element<7>},
      {"count_o", count_element<8>},
      {"count_f", count_element<9>},
      {"count_si", count_element<14>},
      {"count_p", count_element<15>},
      {"count_s", count_element<16>},
      {"count_cl", count_element<17>},
      {"count_br", count_element<35>},
      {"count_i", count_element<53>},
  });
}();

}  // namespace detail

/// Number of descriptors of a molecule.
inline constexpr index_t descriptor_width = std::ssize(detail::descriptor_table);

/// The names of the columns of `descriptors`.
inline std::vector<std::string> descriptor_names() {
  std::vector<std::string> names;
  for (const detail::descriptor& d : detail::descriptor_table) {
    names.emplace_back(d.name);
  }
  return names;
}

/// Descriptors that RDKit computes from the molecular graph, (molecules, descriptor_width): exact
/// mass in u, polar surface area (Ertl et al. 2000) and Labute's surface area (2000) in square
/// ångström, log P and molar refractivity (Wildman and Crippen 1999), counts of groups, rings and
/// elements, chi and kappa indices (Hall and Kier 1991). A descriptor that is not defined for a
/// molecule, such as an index of paths that it is too small for, is 0: every value is finite.
inline matrix<double> descriptors(const molecule_set& set) {
  matrix<double> result(set.size(), descriptor_width);
  detail::for_each_molecule(set, [&](index_t m, const RDKit::ROMol& molecule) {
    for (index_t d = 0; d < descriptor_width; ++d) {
      const double value = detail::descriptor_table[static_cast<std::size_t>(d)].value(molecule);
      result(m, d) = std::isfinite(value) ? value : 0;
    }
  });
  return result;
}

}  // namespace vierbein::chem
