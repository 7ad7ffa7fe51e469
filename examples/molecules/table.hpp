// Molecules with their properties, read from a CSV file, and who is tested.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "settings.hpp"
#include "vierbein/chem/molecules.hpp"
#include "vierbein/core/matrix.hpp"

namespace molecules {

namespace vb = vierbein;

/// The molecules of a file that could be parsed.
struct molecule_table {
  std::vector<std::string> smiles;
  vb::chem::molecule_set set;
  std::vector<std::string> properties;
  vb::matrix<double> values;            // (molecules, properties), NaN for unknown
  std::vector<std::string> split_text;  // the column that names the test set, if asked for
};

/// Reads the file, parses the SMILES and writes those that cannot be parsed to <out>/rejects.csv.
molecule_table read_molecules(const std::filesystem::path& data, const std::string& smiles_column,
                              const std::vector<std::string>& properties,
                              const std::string& split_column, const std::filesystem::path& out);

/// The test molecules of one seed: true for each of them. `random` takes a fifth; `scaffold` takes
/// whole ring scaffolds that make up a fifth of the cyclic molecules, and all acyclic ones of 13 or
/// more heavy atoms; `column:NAME` takes the rows that hold `test`.
std::vector<char> test_molecules(const molecule_table& table, const std::string& split,
                                 std::uint64_t seed);

}  // namespace molecules
