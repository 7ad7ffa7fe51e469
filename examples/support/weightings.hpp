// Weighting policies of every kind, by name.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "policies.hpp"
#include "vierbein/weighting/aligned_mtl.hpp"
#include "vierbein/weighting/cagrad.hpp"
#include "vierbein/weighting/config.hpp"
#include "vierbein/weighting/cosmos.hpp"
#include "vierbein/weighting/cr_mogm.hpp"
#include "vierbein/weighting/db_mtl.hpp"
#include "vierbein/weighting/dual_proj.hpp"
#include "vierbein/weighting/dwa.hpp"
#include "vierbein/weighting/excess_mtl.hpp"
#include "vierbein/weighting/fairgrad.hpp"
#include "vierbein/weighting/famo.hpp"
#include "vierbein/weighting/gls.hpp"
#include "vierbein/weighting/graddrop.hpp"
#include "vierbein/weighting/gradnorm.hpp"
#include "vierbein/weighting/gradvac.hpp"
#include "vierbein/weighting/group_wise.hpp"
#include "vierbein/weighting/imtl_g.hpp"
#include "vierbein/weighting/imtl_l.hpp"
#include "vierbein/weighting/krum.hpp"
#include "vierbein/weighting/mean.hpp"
#include "vierbein/weighting/mgda.hpp"
#include "vierbein/weighting/moco.hpp"
#include "vierbein/weighting/modo.hpp"
#include "vierbein/weighting/nash_mtl.hpp"
#include "vierbein/weighting/pbi.hpp"
#include "vierbein/weighting/pcgrad.hpp"
#include "vierbein/weighting/primary_gradvac.hpp"
#include "vierbein/weighting/primary_pcgrad.hpp"
#include "vierbein/weighting/rlw.hpp"
#include "vierbein/weighting/rotograd.hpp"
#include "vierbein/weighting/sdmgrad.hpp"
#include "vierbein/weighting/si.hpp"
#include "vierbein/weighting/single_task.hpp"
#include "vierbein/weighting/stch.hpp"
#include "vierbein/weighting/trimmed_mean.hpp"
#include "vierbein/weighting/upgrad.hpp"

namespace examples {

using loss_policy = vierbein::weighting::any<vierbein::loss_based>;
using gram_policy = vierbein::weighting::any<vierbein::gram_based>;
using two_batch_policy = vierbein::weighting::any<vierbein::gram_based, 2>;
using three_batch_policy = vierbein::weighting::any<vierbein::gram_based, 3>;
using gradient_policy = vierbein::weighting::any<vierbein::gradient_based>;

using any_policy = std::variant<loss_policy, gram_policy, two_batch_policy, three_batch_policy,
                                gradient_policy, step_policy, round_policy>;

/// A method: how to make it, for tasks of which one may be its target.
struct named_policy {
  std::string name;
  any_policy (*make)(const std::string& target);
  std::size_t least_tasks = 1;
};

/// All that need no target, those of losses first, with the defaults of their headers.
inline const std::vector<named_policy>& policies_without_target() {
  namespace vw = vierbein::weighting;
  using target = const std::string&;
  static const std::vector<named_policy> all{
      {"equal", [](target) -> any_policy { return loss_policy(vw::equal{}); }},
      {"mean", [](target) -> any_policy { return loss_policy(vw::mean{}); }},
      {"rlw", [](target) -> any_policy { return loss_policy(vw::rlw{}); }},
      {"uncertainty", [](target) -> any_policy { return loss_policy(vw::uncertainty{}); }},
      {"imtl_l", [](target) -> any_policy { return loss_policy(vw::imtl_l{}); }},
      {"dwa", [](target) -> any_policy { return loss_policy(vw::dwa{}); }},
      {"gls", [](target) -> any_policy { return loss_policy(vw::gls{}); }},
      {"si", [](target) -> any_policy { return loss_policy(vw::si{}); }},
      {"stch", [](target) -> any_policy { return loss_policy(vw::stch{}); }},
      {"cosmos", [](target) -> any_policy { return loss_policy(vw::cosmos{}); }},
      {"pbi", [](target) -> any_policy { return loss_policy(vw::pbi{}); }},
      {"famo", [](target) -> any_policy { return loss_policy(vw::famo{}); }},
      {"gradnorm", [](target) -> any_policy { return gram_policy(vw::gradnorm{}); }},
      {"mgda", [](target) -> any_policy { return gram_policy(vw::mgda{}); }},
      {"pcgrad", [](target) -> any_policy { return gram_policy(vw::pcgrad{}); }},
      {"gradvac", [](target) -> any_policy { return gram_policy(vw::gradvac{}); }},
      {"cagrad", [](target) -> any_policy { return gram_policy(vw::cagrad{}); }},
      {"imtl_g", [](target) -> any_policy { return gram_policy(vw::imtl_g{}); }},
      {"nash_mtl", [](target) -> any_policy { return gram_policy(vw::nash_mtl{}); }},
      {"fairgrad", [](target) -> any_policy { return gram_policy(vw::fairgrad{}); }},
      {"aligned_mtl", [](target) -> any_policy { return gram_policy(vw::aligned_mtl{}); }},
      {"dual_proj", [](target) -> any_policy { return gram_policy(vw::dual_proj{}); }},
      {"upgrad", [](target) -> any_policy { return gram_policy(vw::upgrad{}); }},
      {"upgrad-layers",
       [](target) -> any_policy { return gradient_policy(vw::group_wise{vw::upgrad{}}); }},
      {"cr_mogm-upgrad",
       [](target) -> any_policy { return gram_policy(vw::cr_mogm<vw::upgrad>{}); }},
      {"config", [](target) -> any_policy { return gram_policy(vw::config{}); }},
      {"db_mtl", [](target) -> any_policy { return gram_policy(vw::db_mtl{}); }},
      {"db_mtl-average", [](target) -> any_policy { return gradient_policy(vw::db_mtl_ema{}); }},
      {"krum", [](target) -> any_policy { return gram_policy(vw::krum{}); }, 3},
      {"rotograd", [](target) -> any_policy { return gram_policy(vw::rotograd{}); }},
      {"modo", [](target) -> any_policy { return two_batch_policy(vw::modo<2>{}); }},
      {"modo-3", [](target) -> any_policy { return three_batch_policy(vw::modo<3>{}); }},
      {"sdmgrad", [](target) -> any_policy { return three_batch_policy(vw::sdmgrad{}); }},
      {"graddrop", [](target) -> any_policy { return gradient_policy(vw::graddrop{}); }},
      {"trimmed_mean", [](target) -> any_policy { return gradient_policy(vw::trimmed_mean{}); }, 3},
      {"excess_mtl", [](target) -> any_policy { return gradient_policy(vw::excess_mtl{}); }},
      {"moco", [](target) -> any_policy { return gradient_policy(vw::moco{}); }},
  };
  return all;
}

/// All that serve a target.
inline const std::vector<named_policy>& policies_with_target() {
  namespace vw = vierbein::weighting;
  using target = const std::string&;
  static const std::vector<named_policy> all = [] {
    std::vector<named_policy> list{
        {"single_task",
         [](target t) -> any_policy { return step_policy(vw::single_task{.target = t}); }},
        {"primary_pcgrad",
         [](target t) -> any_policy { return step_policy(vw::primary_pcgrad{.target = t}); }},
        {"primary_gradvac",
         [](target t) -> any_policy { return step_policy(vw::primary_gradvac{.target = t}); }},
    };
    return list;
  }();
  return all;
}

/// The policy of that name, or none.
inline std::optional<any_policy> find_policy(std::string_view name, const std::string& target) {
  for (const auto* list : {&policies_without_target(), &policies_with_target()}) {
    for (const named_policy& p : *list) {
      if (p.name == name) {
        return p.make(target);
      }
    }
  }
  if (auto policy = find_step_policy(name, target)) {
    return any_policy(std::move(*policy));
  }
  if (auto policy = find_round_policy(name, target)) {
    return any_policy(std::move(*policy));
  }
  return {};
}

/// With how many tasks the policy of that name can do.
inline std::size_t least_tasks(std::string_view name) {
  for (const named_policy& p : policies_without_target()) {
    if (p.name == name) {
      return p.least_tasks;
    }
  }
  return 1;
}

/// The names of all policies that need no target, and of all.
inline std::vector<std::string> names_without_target() {
  std::vector<std::string> names;
  for (const named_policy& p : policies_without_target()) {
    names.push_back(p.name);
  }
  return names;
}
inline std::vector<std::string> names_of_all_policies() {
  auto names = names_without_target();
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      names.push_back(name);
    }
  };
  for (const named_policy& p : policies_with_target()) {
    add(p.name);
  }
  for (const char* name : step_policies) {
    add(name);
  }
  for (const char* name : round_policies) {
    add(name);
  }
  return names;
}

}  // namespace examples
