// The comparison of the methods, for one kind of encoder.
#pragma once

#include <vector>

#include "../support/molecule_table.hpp"
#include "results.hpp"
#include "settings.hpp"

namespace molecules {

/// Runs everything that the settings ask for on a backend; results so far are in <out>/results.csv
/// at any time. Returns whether it came to its end: an interrupt (Ctrl-C) ends it early, and what
/// is finished is shown.
template <class Inputs, class Backend>
bool run_experiment(const settings& s, const molecule_table& table, const Backend& backend);

/// The same on a CUDA device; for programs that are built with it (see on_cuda.cpp).
template <class Inputs>
bool run_on_cuda(const settings& s, const molecule_table& table);

}  // namespace molecules
