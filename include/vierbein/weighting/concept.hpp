// What a weighting policy must offer.
//
// A weighting policy says how much each task counts. It is a plain object and knows no backend,
// tape or model. Its kind says what it needs to see, and so its verb:
//
//   loss_based    void weigh(losses, weights)
//   gram_based    void weigh(losses, gram_matrix, weights)            gram: ∇ℓ_s · ∇ℓ_t over the
//                 shared parameters
//   target_based  void weigh(losses, gram_matrix, step_oracle&, weights)
//                 std::string target                                  the task that the others
//                 serve
//   update_based  void plan(round_plan&)                              which branches train next
//                 void combine(update_oracle&, weights alpha)         θ ← θ + Σ α_i δ_i
//                 void worth(weights) const                           what each task counts now
//                 std::string target
//
//     struct inverse_loss {                             // w_t = 1 / ℓ_t
//       using weighting_kind = vierbein::loss_based;
//       void weigh(vierbein::losses l, vierbein::weights w) {
//         for (std::size_t t = 0; t < l.size(); ++t) {
//           w[t] = l.has(t) ? 1 / l[t] : 0;
//         }
//       }
//     };
//
// `weigh` assigns every element of w, finite, in the order of the tasks; the model then follows
// Σ w_t ∇ℓ_t. An update_based policy chooses between rounds instead, from the updates δ_i that
// branches of the training have made: see weighting/oracle.hpp.
//
// Further members are called where a policy has them:
//     void reset(std::size_t tasks)                before training, with the number of tasks, or
//     void reset(const std::vector<std::string>&)  with their names
//     void observe(vierbein::losses losses_after)  after a step, with the losses of the same batch
//     void end_epoch(std::span<const double> mean) after an epoch, with each task's mean loss
// A policy with a member `target` makes the target alone choose the best epoch, see training::best.
// Members need not be const: a policy may remember; then a copy remembers on its own.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "vierbein/weighting/kinds.hpp"
#include "vierbein/weighting/oracle.hpp"

namespace vierbein {

namespace weighting {

// A member that is there but cannot be called as it will be is a mistake, not another member.
template <class P>
concept ResetsByCount = requires(P& p, std::size_t n) { p.reset(n); };
template <class P>
concept ResetsByName = requires(P& p, const std::vector<std::string>& names) { p.reset(names); };
template <class P>
concept ResetFits = !requires { &P::reset; } || ResetsByCount<P> || ResetsByName<P>;
template <class P>
concept ObserveFits = !requires { &P::observe; } || requires(P& p, losses l) { p.observe(l); };
template <class P>
concept EndEpochFits =
    !requires { &P::end_epoch; } || requires(P& p, std::span<const double> m) { p.end_epoch(m); };

/// Begins a training run with tasks of these names.
template <class P>
void reset(P& policy, const std::vector<std::string>& names) {
  if constexpr (ResetsByName<P>) {
    policy.reset(names);
  } else if constexpr (ResetsByCount<P>) {
    policy.reset(names.size());
  }
}

/// A policy that serves one task.
template <class P>
concept HasTarget = requires(P& p) {
  { p.target } -> std::convertible_to<std::string>;
};

}  // namespace weighting

/// A policy of the kind loss_based: see the head of this file.
template <class P>
concept LossBasedWeighting = std::same_as<typename P::weighting_kind, loss_based> &&
                             requires(P& p, losses l, weights w) { p.weigh(l, w); };

/// A policy of the kind gram_based: see the head of this file.
template <class P>
concept GramBasedWeighting =
    std::same_as<typename P::weighting_kind, gram_based> &&
    requires(P& p, losses l, gram_matrix g, weights w) { p.weigh(l, g, w); };

/// A policy of the kind target_based: see the head of this file.
template <class P>
concept TargetBasedWeighting =
    std::same_as<typename P::weighting_kind, target_based> && weighting::HasTarget<P> &&
    requires(P& p, losses l, gram_matrix g, step_oracle& oracle, weights w) {
      p.weigh(l, g, oracle, w);
    };

/// A policy of the kind update_based: see the head of this file.
template <class P>
concept UpdateBasedWeighting =
    std::same_as<typename P::weighting_kind, update_based> && weighting::HasTarget<P> &&
    requires(P& p, const P& done, round_plan& plan, update_oracle& oracle, weights alpha) {
      p.plan(plan);
      p.combine(oracle, alpha);
      done.worth(alpha);
    };

/// A policy of a kind whose verb is settled. Those of the kind gradient_based come with their first
/// policy.
template <class P>
concept WeightingPolicy = (LossBasedWeighting<P> || GramBasedWeighting<P> ||
                           TargetBasedWeighting<P> || UpdateBasedWeighting<P>) &&
                          weighting::ResetFits<P> && weighting::ObserveFits<P> &&
                          weighting::EndEpochFits<P> && std::copy_constructible<P>;

namespace weighting {

/// Refuses to compile, with one sentence, when P is no weighting policy. To be called by whatever
/// takes a policy.
template <class P>
consteval void require_policy() {
  constexpr bool has_kind = requires { typename P::weighting_kind; };
  static_assert(has_kind,
                "a weighting policy must declare `using weighting_kind = vierbein::loss_based;`, "
                "`gram_based`, `target_based` or `update_based`");
  if constexpr (has_kind) {
    using kind = typename P::weighting_kind;
    constexpr bool settled = std::is_same_v<kind, loss_based> || std::is_same_v<kind, gram_based> ||
                             std::is_same_v<kind, target_based> ||
                             std::is_same_v<kind, update_based>;
    static_assert(settled,
                  "weighting_kind must be vierbein::loss_based, gram_based, target_based or "
                  "update_based");
    static_assert(!std::is_same_v<kind, loss_based> || LossBasedWeighting<P>,
                  "a loss_based weighting policy must have the member "
                  "`void weigh(vierbein::losses, vierbein::weights)`");
    static_assert(!std::is_same_v<kind, gram_based> || GramBasedWeighting<P>,
                  "a gram_based weighting policy must have the member "
                  "`void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::weights)`");
    static_assert(!std::is_same_v<kind, target_based> || TargetBasedWeighting<P>,
                  "a target_based weighting policy must have the members `std::string target` and "
                  "`void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::step_oracle&, "
                  "vierbein::weights)`");
    static_assert(!std::is_same_v<kind, update_based> || UpdateBasedWeighting<P>,
                  "an update_based weighting policy must have the members `std::string target`, "
                  "`void plan(vierbein::round_plan&)`, `void combine(vierbein::update_oracle&, "
                  "vierbein::weights)` and `void worth(vierbein::weights) const`");
    static_assert(ResetFits<P>,
                  "`reset` of a weighting policy must be `void reset(std::size_t)` or "
                  "`void reset(const std::vector<std::string>&)`");
    static_assert(ObserveFits<P>,
                  "`observe` of a weighting policy must be `void observe(vierbein::losses)`");
    static_assert(EndEpochFits<P>,
                  "`end_epoch` of a weighting policy must be "
                  "`void end_epoch(std::span<const double>)`");
    static_assert(std::copy_constructible<P>, "a weighting policy must be copyable");
  }
}

}  // namespace weighting
}  // namespace vierbein
