// One task counts fully, the others as a policy says.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/decorator.hpp"

namespace vierbein::weighting {

/// The weight 1 for the target, and for the auxiliaries `share` times those that `policy` answers,
/// which is asked about all tasks as if there were no target. So any policy serves one task: the
/// target's gradient is never weakened, the others are added as far as the policy lets them.
template <class Policy>
struct primary_only {
  static_assert(StepWeighting<Policy>,
                "primary_only wraps a policy of the kind loss_based or gram_based");
  using weighting_kind = typename Policy::weighting_kind;
  static constexpr std::size_t gram_batches = weighting::gram_batches<Policy>;

  Policy policy = {};
  std::string target = {};
  double share = 1;

  std::size_t target_task = 0;  ///< set by `reset`
  std::size_t task_count = 0;   ///< set by `reset`

  [[nodiscard]] weighting_traits traits() const {
    // Where gradients depend on each other, Jᵀŵ does not determine ŵ, of which d is made here.
    const weighting_traits inner = traits_of(policy);
    constexpr bool unique = LossBasedWeighting<Policy>;
    return {.permutation_invariant = unique && inner.permutation_invariant,
            .linear_under_scaling = unique && inner.linear_under_scaling,
            .deterministic = inner.deterministic,
            .stateful = inner.stateful,
            .homogeneity = unique ? inner.homogeneity : std::nullopt};
  }

  /// Begins again. Throws for an unknown target or an unusable option.
  void reset(const std::vector<std::string>& names) {
    target_task = find_target(names, target, "weighting::primary_only");
    task_count = names.size();
    require(share >= 0, "weighting::primary_only", "share must not be negative, but is {}", share);
    weighting::reset(policy, names);
  }

  void weigh(losses l, weights w)
    requires LossBasedWeighting<Policy>
  {
    policy.weigh(l, w);
    favour(l, w);
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires GramBasedWeighting<Policy>
  {
    policy.weigh(l, g, w);
    favour(l, w);
  }

  [[nodiscard]] bool observes() const
    requires Observes<Policy>
  {
    return weighting::observes(policy);
  }
  void observe(losses losses_after)
    requires Observes<Policy>
  {
    policy.observe(losses_after);
  }
  void end_epoch(std::span<const double> mean)
    requires EndingEpochs<Policy>
  {
    policy.end_epoch(mean);
  }
  [[nodiscard]] std::size_t iterations() const { return weighting::iterations(policy); }

 private:
  void favour(losses l, weights w) const {
    require(task_count == l.size(), "weighting::primary_only",
            "made for {} tasks, but given {} losses; call reset", task_count, l.size());
    for (double& v : w) {
      v *= share;
    }
    w[target_task] = 1;
  }
};

}  // namespace vierbein::weighting
