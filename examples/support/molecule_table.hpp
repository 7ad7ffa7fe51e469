// Molecules with their properties, read from a CSV file, and who is tested.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "vierbein/chem/molecules.hpp"
#include "vierbein/chem/scaffold.hpp"
#include "vierbein/core/matrix.hpp"
#include "vierbein/data/split.hpp"
#include "vierbein/io/csv.hpp"

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
inline molecule_table read_molecules(const std::filesystem::path& data,
                                     const std::string& smiles_column,
                                     const std::vector<std::string>& properties,
                                     const std::string& split_column,
                                     const std::filesystem::path& out) {
  const auto csv = vb::io::read_csv(data);
  const auto all_smiles = csv.text_column(smiles_column);
  std::vector<std::vector<double>> columns;
  for (const auto& name : properties) {
    columns.push_back(csv.number_column(name));
  }
  std::vector<std::string> split_text;
  if (!split_column.empty()) {
    split_text = csv.text_column(split_column);
  }

  molecule_table table;
  table.set = vb::chem::read_smiles(all_smiles);
  if (!table.set.rejects.empty()) {
    const auto file = out / "rejects.csv";
    vb::chem::write_rejects(file, table.set.rejects);
    fmt::print(stderr, "{} of {} SMILES could not be parsed; they are listed in {}\n",
               table.set.rejects.size(), all_smiles.size(), file.string());
  }
  vb::require(table.set.size() > 0, data.string().c_str(), "no molecule is left");

  table.properties = properties;
  table.values = vb::matrix<double>(table.set.size(), static_cast<vb::index_t>(properties.size()));
  for (vb::index_t i = 0; i < table.set.size(); ++i) {
    const auto row = static_cast<std::size_t>(table.set.kept[static_cast<std::size_t>(i)]);
    table.smiles.push_back(all_smiles[row]);
    for (std::size_t p = 0; p < properties.size(); ++p) {
      table.values(i, static_cast<vb::index_t>(p)) = columns[p][row];
    }
    if (!split_column.empty()) {
      table.split_text.push_back(split_text[row]);
    }
  }
  return table;
}

/// The test molecules of one seed: true for each of them. `random` takes a fifth; `scaffold` takes
/// whole ring scaffolds that make up a fifth of the cyclic molecules, and all acyclic ones of 13 or
/// more heavy atoms; `column:NAME` takes the rows that hold `test`.
inline std::vector<char> test_molecules(const molecule_table& table, const std::string& split,
                                        std::uint64_t seed) {
  const auto n = table.set.size();
  std::vector<char> test(static_cast<std::size_t>(n), 0);
  const auto mark = [&](const std::vector<vb::index_t>& rows) {
    for (const auto r : rows) {
      test[static_cast<std::size_t>(r)] = 1;
    }
  };
  const vb::data::fractions fifth{.train = 0.8, .validation = 0, .test = 0.2};
  if (split == "random") {
    mark(vb::data::random_split(n, fifth, seed).test);
  } else if (split == "scaffold") {
    const auto scaffolds = vb::chem::scaffold(table.set);
    const auto atoms = vb::chem::heavy_atoms(table.set);
    std::vector<std::string> keys;
    std::vector<vb::index_t> cyclic;
    for (vb::index_t i = 0; i < n; ++i) {
      const auto k = static_cast<std::size_t>(i);
      if (!scaffolds[k].empty()) {
        keys.push_back(scaffolds[k]);
        cyclic.push_back(i);
      } else if (atoms[k] >= 13) {
        test[k] = 1;
      }
    }
    if (!keys.empty()) {
      for (const auto r : vb::data::group_split(keys, fifth, seed).test) {
        test[static_cast<std::size_t>(cyclic[static_cast<std::size_t>(r)])] = 1;
      }
    }
  } else {
    mark(vb::data::column_split(table.split_text).test);
  }
  return test;
}

}  // namespace molecules
