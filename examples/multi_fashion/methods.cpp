#include "methods.hpp"

#include <string_view>
#include <vector>

#include "../support/policies.hpp"

namespace multi_fashion {

namespace {

// A weighting policy is added in support/policies.hpp, any other method here.
std::vector<method> make_methods() {
  std::vector<method> all{
      {"single", training_kind::single, 1},
      {"shared", training_kind::shared, 1},
      {"finetune", training_kind::finetune, 1.5},
  };
  for (const char* policy : examples::round_policies) {
    all.push_back({.name = policy});
  }
  for (const std::string_view policy : examples::step_policies) {
    if (policy != "equal") {  // the same as `shared`
      all.push_back({.name = std::string(policy)});
    }
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
  throw vierbein::error("--methods",
                        "expected some of " + method_names() + "; found '" + name + "'");
}

}  // namespace multi_fashion
