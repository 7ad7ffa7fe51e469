#include "vierbein/chem/scaffold.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace chem = vierbein::chem;
using strings = std::vector<std::string>;

TEST_CASE("scaffolds") {
  const auto set =
      chem::read_smiles(strings{"Cc1ccccc1",            // toluene
                                "c1ccccc1",             // benzene
                                "CCO",                  // no ring
                                "C",                    // one atom
                                "c1ccccc1CCc1ccccc1C",  // rings and their link
                                "O=C1CCCCC1C",  // an oxygen doubly bonded to a ring belongs to it
                                "Cc1cc[nH]c1",  // pyrrole keeps its hydrogen
                                "C[C@H]1CC[C@@H](O)CC1"});  // no stereochemistry
  REQUIRE(set.size() == 8);
  CHECK(chem::scaffold(set) == strings{"c1ccccc1", "c1ccccc1", "", "", "c1ccc(CCc2ccccc2)cc1",
                                       "O=C1CCCCC1", "c1cc[nH]c1", "C1CCCCC1"});
}

TEST_CASE("heavy atoms") {
  const auto set = chem::read_smiles(strings{"CCO", "[H][H]", "CC(=O)Oc1ccccc1C(=O)O", "[2H]C"});
  CHECK(chem::heavy_atoms(set) == std::vector<vierbein::index_t>{3, 0, 13, 1});
}
