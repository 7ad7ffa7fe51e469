// The comparison of the methods.
#pragma once

#include "settings.hpp"

namespace multi_fashion {

/// Runs everything that the settings ask for; results so far are in <out>/results.csv at any time.
/// Returns whether it came to its end: an interrupt (Ctrl-C) ends it early, and what is finished is
/// shown.
bool run_experiment(const settings& s);

}  // namespace multi_fashion
