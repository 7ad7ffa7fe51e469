// What is asked for and what is there, before any long work begins.
#pragma once

#include <map>
#include <vector>

#include "../support/molecule_table.hpp"
#include "settings.hpp"

namespace molecules {

/// Throws when the settings contradict themselves or name something unknown.
void check_settings(const settings& s);

/// The test molecules of every seed (see test_molecules). Throws when a task has too few labels for
/// what is asked for.
std::map<long, std::vector<char>> choose_test_molecules(const settings& s,
                                                        const molecule_table& table);

}  // namespace molecules
