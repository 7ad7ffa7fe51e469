// Predictions for new molecules with a model that a comparison left.
#pragma once

#include "settings.hpp"

namespace molecules {

/// Writes a CSV file with the SMILES and a column for every task. Where a SMILES cannot be parsed
/// the cells are empty, and it stands in the file <out without .csv>.rejects.csv with the reason.
void predict(const predict_settings& s);

}  // namespace molecules
