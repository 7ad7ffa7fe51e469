#include "vierbein/chem/descriptors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace chem = vierbein::chem;
using doctest::Approx;
using strings = std::vector<std::string>;
using vierbein::index_t;

namespace {

index_t column(std::string_view name) {
  const auto names = chem::descriptor_names();
  const auto it = std::find(names.begin(), names.end(), name);
  REQUIRE(it != names.end());
  return it - names.begin();
}

}  // namespace

TEST_CASE("descriptor names are as many as there are columns, and different") {
  const auto names = chem::descriptor_names();
  CHECK(std::ssize(names) == chem::descriptor_width);
  CHECK(std::set(names.begin(), names.end()).size() == names.size());
}

TEST_CASE("descriptors of aspirin and water") {
  const auto d = chem::descriptors(chem::read_smiles(strings{"CC(=O)Oc1ccccc1C(=O)O", "O"}));
  const auto aspirin = [&](std::string_view name) { return d(0, column(name)); };
  const auto water = [&](std::string_view name) { return d(1, column(name)); };
  CHECK(aspirin("exact_mass") == Approx(180.04226).epsilon(1e-7));
  CHECK(aspirin("heavy_atoms") == 13);
  CHECK(aspirin("tpsa") == Approx(63.6).epsilon(1e-9));
  CHECK(aspirin("crippen_log_p") == Approx(1.3101).epsilon(1e-4));
  CHECK(aspirin("crippen_mr") == Approx(44.7103).epsilon(1e-4));
  CHECK(aspirin("hbond_donors") == 1);
  CHECK(aspirin("hbond_acceptors") == 3);
  CHECK(aspirin("rings") == 1);
  CHECK(aspirin("aromatic_rings") == 1);
  CHECK(aspirin("aliphatic_rings") == 0);
  CHECK(aspirin("fraction_csp3") == Approx(1.0 / 9.0));
  CHECK(aspirin("count_c") == 9);
  CHECK(aspirin("count_h") == 8);
  CHECK(aspirin("count_o") == 4);
  CHECK(aspirin("count_n") == 0);
  CHECK(aspirin("heteroatoms") == 4);
  CHECK(aspirin("formal_charge") == 0);

  CHECK(water("exact_mass") == Approx(18.010565).epsilon(1e-7));
  CHECK(water("heavy_atoms") == 1);
  CHECK(water("tpsa") == Approx(31.5));
  CHECK(water("count_h") == 2);
  CHECK(water("count_o") == 1);
  CHECK(water("fraction_csp3") == 0);
  CHECK(water("rotatable_bonds") == 0);
}

TEST_CASE("counts of each element and the charge") {
  const auto d = chem::descriptors(chem::read_smiles(
      strings{"FC(Cl)(Br)I", "C[Si](C)(C)C", "[NH4+]", "O=P(O)(O)S", "[2H]O[2H]"}));
  CHECK(d(0, column("count_f")) == 1);
  CHECK(d(0, column("count_cl")) == 1);
  CHECK(d(0, column("count_br")) == 1);
  CHECK(d(0, column("count_i")) == 1);
  CHECK(d(1, column("count_si")) == 1);
  CHECK(d(1, column("count_h")) == 12);
  CHECK(d(2, column("formal_charge")) == 1);
  CHECK(d(2, column("count_n")) == 1);
  CHECK(d(3, column("count_p")) == 1);
  CHECK(d(3, column("count_s")) == 1);
  CHECK(d(4, column("count_h")) == 2);
}

TEST_CASE("descriptors are finite for the strangest molecules") {
  const auto set = chem::read_smiles(strings{"C",           "[H][H]", "[He]",
                                             "[Na+].[Cl-]", "[Fe+3]", "*",
                                             "[U]",         "C#C",    "[C-]#[O+]",
                                             "[H+]",        "F[Xe]F", "[Pt](Cl)(Cl)(N)N",
                                             "O=O",         "N#N",    "FS(F)(F)(F)(F)F",
                                             "B",           "[Og]",   "[2H]",
                                             "C1CC1",       "S",      "**",
                                             "[Cl-]",       "C[Hg]C", "[*-]"});
  CHECK(set.size() > 20);
  const auto d = chem::descriptors(set);
  for (index_t m = 0; m < d.rows(); ++m) {
    for (index_t c = 0; c < d.cols(); ++c) {
      CAPTURE(m);
      CAPTURE(c);
      CHECK(std::isfinite(d(m, c)));
    }
  }
}

TEST_CASE("descriptors do not depend on what was computed before") {
  const strings smiles{"CC(=O)Oc1ccccc1C(=O)O", "CCN(CC)CC", "C1CC2CC1CC2", "OC(=O)CCl"};
  const auto set = chem::read_smiles(smiles);
  const auto first = chem::descriptors(set);
  CHECK(chem::descriptors(set) == first);
  CHECK(chem::descriptors(chem::read_smiles(smiles)) == first);
}
