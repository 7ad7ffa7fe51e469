// Molecules from SMILES (through RDKit).
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vierbein/chem/rdkit.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/types.hpp"
#include "vierbein/io/csv_writer.hpp"

namespace vierbein::chem {

/// A SMILES that is no molecule. `row` counts from 0 in what was read.
struct reject {
  index_t row = 0;
  std::string smiles;
  std::string reason;  ///< on one line, in RDKit's words where it has some
};

/// Molecules and where they came from. RDKit keeps intermediate results inside a molecule, also
/// inside a constant one: two threads must not compute features of the same set at the same time.
struct molecule_set {
  std::vector<std::shared_ptr<const RDKit::ROMol>> molecules;
  std::vector<index_t> kept;  ///< (molecules): the row of each, counted from 0
  std::vector<reject> rejects;

  [[nodiscard]] index_t size() const { return static_cast<index_t>(molecules.size()); }
  [[nodiscard]] const RDKit::ROMol& operator[](index_t i) const {
    return *molecules[static_cast<std::size_t>(i)];
  }
};

namespace detail {

/// Calls f(0) alone, which fills RDKit's tables, and then f(1) ... f(count - 1) on all threads of
/// OpenMP, RDKit's log switched off. Rethrows the exception of the smallest index that failed.
template <class F>
void for_each_index(index_t count, const F& f) {
  const RDLog::LogStateSetter silence;
  std::exception_ptr failure;
  index_t failed = count;
  std::mutex mutex;
  const auto guarded = [&](index_t i) {
    try {
      f(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < failed) {
        failed = i;
        failure = std::current_exception();
      }
    }
  };
  if (count > 0) {
    guarded(0);
  }
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 64)
#endif
  for (index_t i = 1; i < count; ++i) {
    guarded(i);
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

/// Calls f(i, molecule) for every molecule of the set, as for_each_index; what RDKit throws becomes
/// an error that names the row.
template <class F>
void for_each_molecule(const molecule_set& set, const F& f) {
  for_each_index(set.size(), [&](index_t i) {
    try {
      f(i, set[i]);
    } catch (const std::exception& problem) {
      throw error(fmt::format("molecules, row {}", set.kept[static_cast<std::size_t>(i)] + 1),
                  problem.what());
    }
  });
}

/// What stands behind a SMILES and a blank and is no extension `|...|` of it: RDKit would take it
/// for a name. Empty when there is nothing.
inline std::string_view trailing_text(std::string_view smiles) {
  constexpr std::string_view blanks = " \t\r\n";
  smiles.remove_prefix(std::min(smiles.find_first_not_of(blanks), smiles.size()));
  smiles.remove_prefix(std::min(smiles.find_first_of(blanks), smiles.size()));
  smiles.remove_prefix(std::min(smiles.find_first_not_of(blanks), smiles.size()));
  return smiles.starts_with('|') ? std::string_view() : smiles;
}

/// The molecule, or null when the SMILES is none.
inline std::shared_ptr<const RDKit::ROMol> parse_smiles(const std::string& smiles) {
  if (!trailing_text(smiles).empty()) {
    return nullptr;
  }
  std::shared_ptr<const RDKit::ROMol> molecule(
      RDKit::SmilesToMol(smiles, RDKit::SmilesParserParams{}));
  return molecule != nullptr && molecule->getNumAtoms() > 0 ? molecule : nullptr;
}

/// The first line of RDKit's log that says something, without the time and what kind of line it is.
inline std::string first_reason(const std::string& log) {
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    std::string_view text = line;
    if (text.starts_with('[')) {
      text.remove_prefix(std::min(text.find(']') + 1, text.size()));
    }
    for (const std::string_view prefix : {" ", "SMILES Parse Error: "}) {
      if (text.starts_with(prefix)) {
        text.remove_prefix(prefix.size());
      }
    }
    if (!text.empty()) {
      return std::string(text);
    }
  }
  return "not a SMILES";
}

/// Why RDKit does not accept a SMILES, found by parsing it again while listening to the error log.
/// The log is global: one thread at a time.
inline std::string reject_reason(const std::string& smiles) {
  if (smiles.find_first_not_of(" \t\r\n") == std::string::npos) {
    return "empty SMILES";
  }
  if (!trailing_text(smiles).empty()) {
    return "text behind the SMILES";
  }
  std::ostringstream log;
  struct restore_at_end {
    RDLogger logger = rdErrorLog;
    ~restore_at_end() { rdErrorLog = logger; }
  } const restore;
  rdErrorLog = std::make_shared<boost::logging::rdLogger>(&log);
  try {
    if (parse_smiles(smiles) != nullptr) {
      return "not a SMILES";
    }
  } catch (const std::exception& problem) {
    return first_reason(problem.what());
  }
  const std::string text = log.str();
  return text.empty() ? "no atoms" : first_reason(text);
}

}  // namespace detail

/// Parses SMILES, one molecule each, and lets RDKit sanitise them (valences, rings, aromaticity,
/// stereochemistry; explicit hydrogens become implicit). What RDKit does not accept, has no atoms
/// or has text behind the SMILES is left out and recorded with the reason. Nothing is logged.
inline molecule_set read_smiles(std::span<const std::string> smiles) {
  std::vector<std::shared_ptr<const RDKit::ROMol>> parsed(smiles.size());
  detail::for_each_index(static_cast<index_t>(smiles.size()), [&](index_t i) {
    const auto row = static_cast<std::size_t>(i);
    try {
      parsed[row] = detail::parse_smiles(smiles[row]);
    } catch (const std::exception&) {
      parsed[row] = nullptr;  // the reason is found below, one thread at a time
    }
  });
  molecule_set set;
  const RDLog::LogStateSetter silence;
  for (std::size_t row = 0; row < parsed.size(); ++row) {
    if (parsed[row] != nullptr) {
      set.molecules.push_back(std::move(parsed[row]));
      set.kept.push_back(static_cast<index_t>(row));
    } else {
      set.rejects.push_back(
          {static_cast<index_t>(row), smiles[row], detail::reject_reason(smiles[row])});
    }
  }
  return set;
}

/// Writes a CSV file with the columns row, smiles and reason. Here rows count from 1, as they do in
/// the messages about CSV files. See io::write_atomically for errors.
inline void write_rejects(const std::filesystem::path& path, std::span<const reject> rejects) {
  const std::vector<std::string> names{"row", "smiles", "reason"};
  io::csv_writer writer(names);
  for (const reject& r : rejects) {
    const std::vector<std::string> cells{fmt::format("{}", r.row + 1), r.smiles, r.reason};
    writer.add_row(cells);
  }
  writer.save(path);
}

}  // namespace vierbein::chem
