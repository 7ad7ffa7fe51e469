// Scaffolds of molecules, to split a data set by them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vierbein/chem/molecules.hpp"
#include "vierbein/chem/rdkit.hpp"

namespace vierbein::chem {

/// The Bemis-Murcko scaffold (1996) of every molecule, its rings and what links them, as a
/// canonical SMILES without stereochemistry. A molecule without rings has the empty scaffold "".
inline std::vector<std::string> scaffold(const molecule_set& set) {
  std::vector<std::string> result(static_cast<std::size_t>(set.size()));
  detail::for_each_molecule(set, [&](index_t m, const RDKit::ROMol& molecule) {
    const std::unique_ptr<RDKit::ROMol> core(RDKit::MurckoDecompose(molecule));
    if (core != nullptr && core->getNumAtoms() > 0) {
      core->clearComputedProps();
      core->updatePropertyCache(false);
      RDKit::SmilesWriteParams options;
      options.doIsomericSmiles = false;
      result[static_cast<std::size_t>(m)] = RDKit::MolToSmiles(*core, options);
    }
  });
  return result;
}

/// Number of atoms of every molecule, hydrogens not counted.
inline std::vector<index_t> heavy_atoms(const molecule_set& set) {
  std::vector<index_t> counts;
  for (const auto& molecule : set.molecules) {
    counts.push_back(static_cast<index_t>(molecule->getNumHeavyAtoms()));
  }
  return counts;
}

}  // namespace vierbein::chem
