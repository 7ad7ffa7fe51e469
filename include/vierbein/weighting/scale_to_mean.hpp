// Steps of comparable length, whatever a policy's weights add up to.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "vierbein/weighting/decorator.hpp"
#include "vierbein/weighting/tools.hpp"

namespace vierbein::weighting {

/// Published methods differ in the length of d by up to a factor T: some add the tasks up, some
/// take their mean, and a learning rate that suits one does not suit the other. With `sum_to_one`
/// the weights ŵ of `policy` become
///     w = ŵ / Σ_t |ŵ_t|        (over the tasks that the batch has labels of);
/// otherwise they are divided by the number of those tasks where the policy declares that its
/// weights add up to T (weight_scale::sum), and left alone where it does not. Weights of 0 stay 0.
template <class Policy>
struct scale_to_mean {
  static_assert(StepWeighting<Policy>,
                "scale_to_mean wraps a policy of the kind loss_based or gram_based");
  using weighting_kind = typename Policy::weighting_kind;
  static constexpr std::size_t gram_batches = weighting::gram_batches<Policy>;

  Policy policy = {};
  bool sum_to_one = true;

  /// Where Jᵀw does not determine w, because gradients depend on each other, Σ |ŵ_t| may be
  /// anything: then only the direction of d is the policy's.
  [[nodiscard]] weighting_traits traits() const {
    weighting_traits t = traits_of(policy);
    if (sum_to_one && !t.convex_weights) {
      t.permutation_invariant = t.permutation_invariant && LossBasedWeighting<Policy>;
      t.linear_under_scaling = t.linear_under_scaling && LossBasedWeighting<Policy>;
      t.homogeneity = LossBasedWeighting<Policy> ? t.homogeneity : std::nullopt;
    }
    const bool adds_up = t.scale == weight_scale::sum || t.convex_weights;
    t.scale = adds_up ? weight_scale::mean : sum_to_one ? weight_scale::other : t.scale;
    return t;
  }

  void reset(const std::vector<std::string>& names) { weighting::reset(policy, names); }

  [[nodiscard]] sight looks_at(losses l) const { return weighting::looks_at(policy, l); }

  void weigh(losses l, weights w)
    requires LossBasedWeighting<Policy>
  {
    policy.weigh(l, w);
    rescale(l, w);
  }
  void weigh(losses l, gram_matrix g, weights w)
    requires GramBasedWeighting<Policy>
  {
    policy.weigh(l, g, w);
    rescale(l, w);
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
  void rescale(losses l, weights w) const {
    double divisor = 0;
    if (sum_to_one) {
      for (std::size_t t = 0; t < w.size(); ++t) {
        divisor += l.has(t) ? std::abs(w[t]) : 0.0;
      }
    } else if (traits_of(policy).scale == weight_scale::sum) {
      divisor = static_cast<double>(present_count(l));
    }
    for (double& v : w) {
      v = divisor > 0 ? v / divisor : v;
    }
  }
};

}  // namespace vierbein::weighting
