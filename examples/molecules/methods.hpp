// The methods that are compared, and the sizes that they share.
#pragma once

#include <string>

#include "vierbein/alignment/gate.hpp"
#include "vierbein/train/add_task.hpp"

namespace molecules {

namespace vb = vierbein;

/// What a target's model was trained on before: nothing, the sources by hard sharing, the sources
/// by GATE.
enum class pretraining_kind { none, plain, gate };

struct method {
  std::string name;
  pretraining_kind pretraining = pretraining_kind::none;
  bool joint = false;     // sources and targets in one training
  bool weighted = false;  // sources and one target, by the weighting policy of the method's name
  vb::addition addition = {};
  bool pool = false;  // molecules without target labels join
  double learning_rate = 1e-3;
};

/// The method of that name; throws when there is none. The five of the comparison, variants of task
/// addition that leave one choice out, and one for each weighting policy in support/policies.hpp.
const method& find_method(const std::string& name);

/// The names of all methods.
std::string method_names();

/// Task modules whose latent space and frame are `width` wide.
inline vb::module_options module_sizes(vb::index_t width) {
  return {.encoder = {width}, .transfer = {width, width}, .inverse = {width}, .head = {width}};
}

/// GATE's coefficients, the same in all experiments.
inline vb::alignment::gate gate_losses() {
  return {.autoencoding = {.coefficient = 0.1},
          .consistency = {.coefficient = 0.1},
          .mapping = {.coefficient = 0.3, .sources = 1},
          .distance = {.coefficient = 0.1, .perturbations = 1, .scale = 0.1}};
}

}  // namespace molecules
