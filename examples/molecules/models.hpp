// The types of model that the methods train, and their files.
#pragma once

#include <filesystem>

#include "vierbein/alignment/gate.hpp"
#include "vierbein/alignment/none.hpp"
#include "vierbein/model/multitask.hpp"

namespace molecules {

namespace vb = vierbein;

template <class Inputs>
using plain_model_of =
    vb::multitask_model<decltype(Inputs::encoder()), vb::alignment::none, vb::tasks<>, float>;
template <class Inputs>
using gate_model_of =
    vb::multitask_model<decltype(Inputs::encoder()), vb::alignment::gate, vb::tasks<>, float>;

/// Writes a model so that `molecules predict` finds the kind of inputs that it needs.
template <class Inputs, class Model>
void save_model(const Model& model, const std::filesystem::path& file);

}  // namespace molecules
