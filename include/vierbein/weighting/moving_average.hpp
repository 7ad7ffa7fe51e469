// Weights that change slowly.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "vierbein/core/error.hpp"
#include "vierbein/weighting/decorator.hpp"

namespace vierbein::weighting {

/// The moving average λ of the weights ŵ that `policy` answers,
///     λ ← ρ λ + (1 - ρ) ŵ,   w = λ,
/// as in CR-MOGM (Zhou, Zhang, Jiang, Zhong, Gu and Zhu 2022), whose default is ρ = 0.9; the first
/// λ of a task is its first ŵ. A task that is absent keeps its λ. It costs T numbers. The wrapped
/// policy is asked in every step.
///
/// The paper lets ρ follow the learning rate, ρ = 1 - η / η₀; here it is constant.
template <class Policy>
struct moving_average {
  static_assert(StepWeighting<Policy>,
                "moving_average wraps a policy of the kind loss_based or gram_based");
  using weighting_kind = typename Policy::weighting_kind;
  static constexpr std::size_t gram_batches = weighting::gram_batches<Policy>;

  Policy policy = {};
  double memory = 0.9;  ///< ρ

  std::vector<double> average = {};  ///< (T) λ, NaN for a task not yet seen

  [[nodiscard]] weighting_traits traits() const {
    const weighting_traits inner = traits_of(policy);
    return {.permutation_invariant = inner.permutation_invariant,
            .convex_weights = inner.convex_weights,
            .deterministic = inner.deterministic,
            .stateful = true,
            .homogeneity = inner.homogeneity,
            .scale = inner.scale};
  }

  /// Begins again. Throws for an unusable option.
  void reset(const std::vector<std::string>& names) {
    require(memory >= 0 && memory < 1, "weighting::moving_average",
            "memory must be in [0, 1), but is {}", memory);
    average.assign(names.size(), std::numeric_limits<double>::quiet_NaN());
    weighting::reset(policy, names);
  }

  [[nodiscard]] sight looks_at(losses l) const { return weighting::looks_at(policy, l); }

  void weigh(losses l, weights w)
    requires LossBasedWeighting<Policy>
  {
    policy.weigh(l, w);
    smooth(l, w);
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires GramBasedWeighting<Policy>
  {
    policy.weigh(l, g, w);
    smooth(l, w);
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
  void smooth(losses l, weights w) {
    if (average.empty()) {
      average.assign(l.size(), std::numeric_limits<double>::quiet_NaN());
    }
    require(average.size() == l.size(), "weighting::moving_average",
            "made for {} tasks, but given {} losses; call reset", average.size(), l.size());
    for (std::size_t t = 0; t < l.size(); ++t) {
      if (l.has(t)) {
        average[t] = std::isnan(average[t]) ? w[t] : memory * average[t] + (1 - memory) * w[t];
      }
      w[t] = std::isnan(average[t]) ? w[t] : average[t];
    }
  }
};

}  // namespace vierbein::weighting
