// Weighting policies that serve one target, by name.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/alpha_vil.hpp"
#include "vierbein/weighting/any.hpp"
#include "vierbein/weighting/arml.hpp"
#include "vierbein/weighting/auto_lambda.hpp"
#include "vierbein/weighting/auxilearn.hpp"
#include "vierbein/weighting/diw.hpp"
#include "vierbein/weighting/equal.hpp"
#include "vierbein/weighting/fork_merge.hpp"
#include "vierbein/weighting/gcs.hpp"
#include "vierbein/weighting/meta_tartan.hpp"
#include "vierbein/weighting/ol_aux.hpp"
#include "vierbein/weighting/uncertainty.hpp"

namespace examples {

using round_policy = vierbein::weighting::any<vierbein::update_based>;
using step_policy = vierbein::weighting::any<vierbein::target_based>;

/// Those that combine the updates of whole rounds.
inline constexpr std::array round_policies{"alpha_vil", "alpha_vil-published", "fork_merge"};
/// Those that weigh every step.
inline constexpr std::array step_policies{"equal",       "uncertainty", "gcs", "gcs-weighted",
                                          "ol_aux",      "arml",        "diw", "auto_lambda",
                                          "meta_tartan", "auxilearn"};

inline std::string policy_names() {
  std::string names;
  for (const char* name : round_policies) {
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  for (const char* name : step_policies) {
    names += ", " + std::string(name);
  }
  return names;
}

/// The policy of that name, if it is one for rounds.
inline std::optional<round_policy> find_round_policy(std::string_view name,
                                                     const std::string& target) {
  namespace weighting = vierbein::weighting;
  if (name == "alpha_vil") {
    return round_policy(weighting::alpha_vil{.target = target});
  }
  if (name == "alpha_vil-published") {
    return round_policy(weighting::alpha_vil::published(target));
  }
  if (name == "fork_merge") {
    return round_policy(weighting::fork_merge{.target = target});
  }
  return {};
}

/// The policy of that name, if it is one for steps.
inline std::optional<step_policy> find_step_policy(std::string_view name,
                                                   const std::string& target) {
  namespace weighting = vierbein::weighting;
  if (name == "equal") {
    return step_policy(weighting::equal{}, target);
  }
  if (name == "uncertainty") {
    return step_policy(weighting::uncertainty{}, target);
  }
  if (name == "gcs") {
    return step_policy(weighting::gcs{.target = target});
  }
  if (name == "gcs-weighted") {
    return step_policy(weighting::gcs{.target = target, .weighted = true});
  }
  if (name == "ol_aux") {
    return step_policy(weighting::ol_aux{.target = target});
  }
  if (name == "arml") {
    return step_policy(weighting::arml{.target = target});
  }
  if (name == "diw") {
    return step_policy(weighting::diw{.target = target, .rate = 0.04, .every = 4});
  }
  if (name == "auto_lambda") {
    return step_policy(weighting::auto_lambda{.target = target, .learning_rate = 4e-3, .every = 4});
  }
  if (name == "meta_tartan") {
    return step_policy(weighting::meta_tartan{.target = target});
  }
  if (name == "auxilearn") {
    return step_policy(weighting::auxilearn{.target = target});
  }
  return {};
}

}  // namespace examples
