// Fingerprints of molecules.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>

#include "vierbein/chem/molecules.hpp"
#include "vierbein/chem/rdkit.hpp"
#include "vierbein/core/error.hpp"
#include "vierbein/core/matrix.hpp"

namespace vierbein::chem {

/// What an entry of a fingerprint says about the substructures that fall on it: whether there are
/// any (0 or 1), how many there are (n), or log(1 + n).
enum class fingerprint_values { presence, counts, log_counts };

/// Options of `morgan`.
struct morgan_options {
  int radius = 2;       ///< bonds from the centre of a substructure to its rim
  index_t bits = 1024;  ///< length of a fingerprint
  fingerprint_values values = fingerprint_values::presence;
};

/// Morgan (extended-connectivity) fingerprints (Rogers and Hahn 2010): every atom's circular
/// neighbourhoods up to the radius, hashed to one of `bits` entries. Returns (molecules, bits).
/// Throws when the radius is negative or there are no bits.
inline matrix<double> morgan(const molecule_set& set, const morgan_options& options = {}) {
  require(options.radius >= 0, "chem::morgan", "expected a radius of 0 or more, found {}",
          options.radius);
  require(options.bits > 0 && options.bits <= std::numeric_limits<std::int32_t>::max(),
          "chem::morgan", "expected a positive number of bits, found {}", options.bits);
  matrix<double> result(set.size(), options.bits);
  detail::for_each_molecule(set, [&](index_t m, const RDKit::ROMol& molecule) {
    const std::unique_ptr<RDKit::SparseIntVect<std::uint32_t>> fingerprint(
        RDKit::MorganFingerprints::getHashedFingerprint(
            molecule, static_cast<unsigned>(options.radius), static_cast<unsigned>(options.bits)));
    for (const auto& [entry, count] : fingerprint->getNonzeroElements()) {
      double value = count;
      switch (options.values) {
        case fingerprint_values::presence: value = 1; break;
        case fingerprint_values::counts: break;
        case fingerprint_values::log_counts: value = std::log1p(value); break;
      }
      result(m, static_cast<index_t>(entry)) = value;
    }
  });
  return result;
}

}  // namespace vierbein::chem
