// The comparison of the methods, for one kind of encoder.
#pragma once

#include <vector>

#include "../support/molecule_table.hpp"
#include "results.hpp"
#include "settings.hpp"

namespace molecules {

/// Runs everything that the settings ask for; results so far are in <out>/results.csv at any time.
/// Returns whether it came to its end: an interrupt (Ctrl-C) ends it early, and what is finished is
/// shown.
template <class Inputs>
bool run_experiment(const settings& s, const molecule_table& table);

}  // namespace molecules
