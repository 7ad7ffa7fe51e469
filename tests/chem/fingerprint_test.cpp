#include "vierbein/chem/fingerprint.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace chem = vierbein::chem;
using chem::fingerprint_values;
using strings = std::vector<std::string>;
using vierbein::index_t;

TEST_CASE("morgan: the same molecule has the same fingerprint however it is written") {
  const auto set = chem::read_smiles(strings{"OCC", "C(O)C", "CCN"});
  const auto f = chem::morgan(set);
  CHECK(f.rows() == 3);
  CHECK(f.cols() == 1024);
  CHECK(std::ranges::equal(f.row(0), f.row(1)));
  CHECK(!std::ranges::equal(f.row(0), f.row(2)));
  CHECK(chem::morgan(set) == f);
}

TEST_CASE("morgan counts substructures") {
  const auto set = chem::read_smiles(strings{"CCO", "CCCCCCCCCC", "C"});
  const auto presence = chem::morgan(set);
  const auto counts = chem::morgan(set, {.values = fingerprint_values::counts});
  const auto logs = chem::morgan(set, {.values = fingerprint_values::log_counts});
  const auto sum = [](std::span<const double> row) {
    return std::accumulate(row.begin(), row.end(), 0.0);
  };
  // Radius 0 gives every atom once, radius 1 again; at radius 2 two of ethanol's three
  // neighbourhoods are all of it, as was the central atom's at radius 1, and are not counted again.
  CHECK(sum(counts.row(0)) == 6);
  CHECK(sum(presence.row(0)) == 6);
  CHECK(sum(counts.row(2)) == 1);
  CHECK(sum(presence.row(1)) < sum(counts.row(1)));
  for (index_t i = 0; i < counts.size(); ++i) {
    const double n = counts.data()[i];
    CHECK(presence.data()[i] == (n > 0 ? 1 : 0));
    CHECK(logs.data()[i] == std::log1p(n));
  }
}

TEST_CASE("morgan: radius and length") {
  const auto set = chem::read_smiles(strings{"CCCCO"});
  const auto atoms =
      chem::morgan(set, {.radius = 0, .bits = 64, .values = fingerprint_values::counts});
  CHECK(atoms.cols() == 64);
  CHECK(std::accumulate(atoms.data(), atoms.data() + 64, 0.0) == 5);
  CHECK_THROWS_WITH_AS((void)chem::morgan(set, {.radius = -1}),
                       "chem::morgan: expected a radius of 0 or more, found -1", vierbein::error);
  CHECK_THROWS_WITH_AS((void)chem::morgan(set, {.bits = 0}),
                       "chem::morgan: expected a positive number of bits, found 0",
                       vierbein::error);
  CHECK(chem::morgan({}).rows() == 0);
}

TEST_CASE("many molecules give, on all threads, what each gives alone") {
  strings smiles;
  for (int i = 0; i < 300; ++i) {
    smiles.push_back(std::string(static_cast<std::size_t>(1 + i % 17), 'C') + (i % 3 ? "O" : "N") +
                     (i % 5 ? "" : "c1ccccc1"));
  }
  const auto set = chem::read_smiles(smiles);
  REQUIRE(set.size() == 300);
  const auto all = chem::morgan(set);
  for (index_t m = 0; m < 300; ++m) {
    const auto one =
        chem::morgan(chem::read_smiles(std::span(smiles).subspan(static_cast<std::size_t>(m), 1)));
    CHECK(std::ranges::equal(all.row(m), one.row(0)));
  }
}
