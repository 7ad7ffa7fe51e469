#include "methods.hpp"

#include <vector>

#include "../support/policies.hpp"
#include "vierbein/core/error.hpp"

namespace molecules {

namespace {

using enum pretraining_kind;
using vb::module_start;
using vb::trunk_policy;

std::vector<method> make_methods() {
  std::vector<method> all{
      method{.name = "single"},
      method{.name = "shared", .pretraining = plain, .joint = true},
      method{.name = "gate", .pretraining = gate, .joint = true},
      method{.name = "finetune",
             .pretraining = plain,
             .addition = {.start = module_start::fresh, .alignment = 0}},
      method{.name = "addition",
             .pretraining = gate,
             .addition = {.start = module_start::warm, .alignment = 0.3}},
      // Variants that change one choice of `addition` or of `finetune`.
      method{.name = "addition-unaligned",
             .pretraining = gate,
             .addition = {.start = module_start::warm, .alignment = 0}},
      method{.name = "addition-fresh",
             .pretraining = gate,
             .addition = {.start = module_start::fresh, .alignment = 0.3}},
      method{.name = "addition-pool",
             .pretraining = gate,
             .addition = {.start = module_start::warm, .alignment = 0.3},
             .pool = true},
      method{.name = "addition-frozen",
             .pretraining = gate,
             .addition = {.trunk = trunk_policy::frozen,
                          .start = module_start::warm,
                          .alignment = 0.3}},
      method{
          .name = "addition-frozen-unaligned",
          .pretraining = gate,
          .addition = {.trunk = trunk_policy::frozen, .start = module_start::warm, .alignment = 0}},
      method{.name = "finetune-warm",
             .pretraining = plain,
             .addition = {.start = module_start::warm, .alignment = 0}},
      method{.name = "finetune-frozen",
             .pretraining = plain,
             .addition = {.trunk = trunk_policy::frozen,
                          .start = module_start::fresh,
                          .alignment = 0}},
  };
  const auto add = [&](const char* policy) {
    all.push_back({.name = policy, .pretraining = plain, .weighted = true});
  };
  for (const char* policy : examples::round_policies) {
    add(policy);
  }
  for (const char* policy : examples::step_policies) {
    add(policy);
  }
  return all;
}

const std::vector<method>& methods() {
  static const std::vector<method> all = make_methods();
  return all;
}

}  // namespace

std::string method_names() {
  std::string names;
  for (const method& m : methods()) {
    names += (names.empty() ? "" : ", ") + m.name;
  }
  return names;
}

const method& find_method(const std::string& name) {
  for (const method& m : methods()) {
    if (m.name == name) {
      return m;
    }
  }
  throw vb::error("--methods", "expected some of " + method_names() + "; found '" + name + "'");
}

}  // namespace molecules
