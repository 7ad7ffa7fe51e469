// What a weighting policy must offer.
//
// A weighting policy says how much each task counts. It is a plain object and knows no backend,
// tape or model. Its kind says what it needs to see, and so its verb:
//
//   loss_based    void weigh(losses, weights)
//   gram_based    void weigh(losses, gram_matrix, weights)            gram: ∇ℓ_s · ∇ℓ_t over the
//                 shared parameters
//   gradient_based template <Scalar T>
//                 void combine(losses, matrix_view<const T> j, std::span<T> d)
//                 j (T, P): row t is ∇ℓ_t over the shared parameters, in host memory (a backend
//                 with memory of its own copies it there and d back); assigns all of d (P), the
//                 direction that the shared parameters follow
//   target_based  void weigh(losses, gram_matrix, step_oracle&, weights)
//                 std::string target                                  the task that the others
//                 serve
//   update_based  void plan(round_plan&)                              which branches train next
//                 void combine(update_oracle&, weights alpha)         θ ← θ + Σ α_i δ_i
//                 void worth(weights) const                           what each task counts now
//                 std::string target
//
// With vierbein/weighting/tools.hpp:
//     struct inverse_loss {                             // w_t = 1 / ℓ_t
//       using weighting_kind = vierbein::loss_based;
//       std::vector<std::string> names = {};
//       void reset(const std::vector<std::string>& task_names) { names = task_names; }
//       void weigh(vierbein::losses l, vierbein::weights w) const {
//         vierbein::weighting::require_above(l, 0, names, "inverse_loss");
//         for (std::size_t t = 0; t < l.size(); ++t) {
//           w[t] = l.has(t) ? 1 / l[t] : 0;
//         }
//       }
//     };
//
// `weigh` assigns every element of w, finite, in the order of the tasks, or throws; the model then
// follows Σ w_t ∇ℓ_t over the tasks that the batch has labels of. w is NaN before. An update_based
// policy chooses between rounds instead, from the updates δ_i that branches of the training have
// made: see weighting/oracle.hpp.
//
// Further members are called where a policy has them:
//     void reset(std::size_t tasks)                before training, with the number of tasks, or
//     void reset(const std::vector<std::string>&)  with their names
//     void observe(vierbein::losses losses_after)  after a step, with the losses of the same batch
//     void end_epoch(std::span<const double> mean) after an epoch, with each task's mean loss
//     void worth(weights) const                    what each task counted in the last step, of a
//                                                  gradient_based policy that knows: the weights of
//                                                  the tasks' own parameters and of the history;
//                                                  1 each otherwise
//     static constexpr bool fixed_columns = true   of a gradient_based policy that needs columns of
//                                                  J to mean the same in every step
//     void layout(std::span<const gradient_columns>)  after reset: what the columns of J are, for a
//                                                  gradient_based policy with fixed_columns
//     static constexpr bool uses_losses = false    of a loss_based policy that looks only at which
//                                                  tasks are present: losses are then NaN, and a
//                                                  step waits for a device once and not twice
//     sight looks_at(losses) const                 what it looks at in the step that begins with
//                                                  these losses, where only the running program
//                                                  knows that it is less than its kind says:
//                                                  losses, gramian or gradients. What it does not
//                                                  look at is spared: the matrix is then without
//                                                  rows, and the oracle refuses
//     bool observes() const                        whether `observe` is wanted, where only the
//                                                  running program knows
//     std::size_t iterations() const               of the solver, in the last step: for the
//     history;
//                                                  or `last()`, its solver::certificate
//     weighting_traits traits() const              what the policy claims, see weighting/traits.hpp
//     double objective(losses) const               what it minimises: w_t = ∂objective/∂ℓ_t
// The last two are for testing/check_weighting.hpp, which holds a policy to them.
// `observe` costs a second forward pass of the batch, with the same random numbers as the first,
// and is called only where it is. A policy of the kind gram_based may ask for independent batches:
//     static constexpr std::size_t gram_batches = 2;
// The matrix is then G_st = ∇ℓ_s(first batch) · ∇ℓ_t(second batch), which is not symmetric. With 2
// the parameters follow the weighted losses' mean over both batches, with 3 those of a third batch.
// A policy with a member `target` makes the target alone choose the best epoch, see
// training::best; a policy that wraps another in its member `policy` has the other's target.
// Members need not be const: a policy may remember; then a copy remembers on its own.
#pragma once

#include <algorithm>
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
template <class P>
concept LooksAtFits = !requires { &P::looks_at; } || requires(const P& p, losses l) {
  { p.looks_at(l) } -> std::same_as<sight>;
};

/// A policy that wants the losses of the same batch after the step.
template <class P>
concept Observes = requires(P& p, losses l) { p.observe(l); };

/// Whether this one does.
template <Observes P>
[[nodiscard]] bool observes(const P& policy) {
  if constexpr (requires { policy.observes(); }) {
    return policy.observes();
  } else {
    return true;
  }
}

/// How many iterations the policy's solver took in the last step; 0 where it has none.
template <class P>
[[nodiscard]] std::size_t iterations(const P& policy) {
  if constexpr (requires { policy.iterations(); }) {
    return static_cast<std::size_t>(policy.iterations());
  } else if constexpr (requires { policy.last().iterations; }) {
    return static_cast<std::size_t>(policy.last().iterations);
  } else {
    return 0;
  }
}

/// Whether a policy may look at the losses' values: unless it says that it does not.
template <class P>
[[nodiscard]] bool uses_losses([[maybe_unused]] const P& policy) {
  if constexpr (requires { policy.uses_losses(); }) {
    return policy.uses_losses();
  } else if constexpr (requires { P::uses_losses; }) {
    return P::uses_losses;
  } else {
    return true;
  }
}

/// What a policy looks at in a step with these losses: what its kind says, unless it says less.
template <class P>
[[nodiscard]] sight looks_at([[maybe_unused]] const P& policy, [[maybe_unused]] losses l) {
  using kind = typename P::weighting_kind;
  constexpr sight most = std::is_same_v<kind, loss_based>   ? sight::losses
                         : std::is_same_v<kind, gram_based> ? sight::gramian
                                                            : sight::gradients;
  if constexpr (requires { policy.looks_at(l); }) {
    return std::min(most, policy.looks_at(l));
  } else {
    return most;
  }
}

/// From how many independent batches a policy wants its Gramian: 1 unless it says otherwise.
template <class P>
inline constexpr std::size_t gram_batches = 1;
template <class P>
  requires requires { P::gram_batches; }
inline constexpr std::size_t gram_batches<P> = static_cast<std::size_t>(P::gram_batches);

/// Begins a training run with tasks of these names.
template <class P>
void reset(P& policy, const std::vector<std::string>& names) {
  if constexpr (ResetsByName<P>) {
    policy.reset(names);
  } else if constexpr (ResetsByCount<P>) {
    policy.reset(names.size());
  }
}

namespace detail {
template <class P>
consteval bool has_target() {
  if constexpr (requires(P& p) {
                  { p.target } -> std::convertible_to<std::string>;
                }) {
    return true;
  } else if constexpr (requires(P& p) { p.policy; }) {
    return has_target<decltype(P::policy)>();
  } else {
    return false;
  }
}
}  // namespace detail

/// A policy that serves one task: it has a member `target`, or it wraps one that has, which is then
/// its member `policy`.
template <class P>
concept HasTarget = detail::has_target<P>();

/// The name of the task that a policy serves.
template <HasTarget P>
std::string target_of(const P& policy) {
  if constexpr (requires { policy.target; }) {
    return policy.target;
  } else {
    return target_of(policy.policy);
  }
}

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

/// A policy of the kind gradient_based: see the head of this file.
template <class P>
concept GradientBasedWeighting =
    std::same_as<typename P::weighting_kind, gradient_based> &&
    requires(P& p, losses l, matrix_view<const float> j, std::span<float> d,
             matrix_view<const double> j_double, std::span<double> d_double) {
      p.combine(l, j, d);
      p.combine(l, j_double, d_double);
    };

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

namespace weighting {

// What the trainer can give to a policy of this kind.
template <class P>
concept NeedsServed = (gram_batches<P> == 1 || (GramBasedWeighting<P> && gram_batches<P> <= 3)) &&
                      gram_batches<P> >= 1 && (!UpdateBasedWeighting<P> || !Observes<P>);

}  // namespace weighting

/// A policy of any kind.
template <class P>
concept WeightingPolicy =
    (LossBasedWeighting<P> || GramBasedWeighting<P> || GradientBasedWeighting<P> ||
     TargetBasedWeighting<P> || UpdateBasedWeighting<P>) &&
    weighting::ResetFits<P> && weighting::ObserveFits<P> && weighting::EndEpochFits<P> &&
    weighting::LooksAtFits<P> && weighting::NeedsServed<P> && std::copy_constructible<P>;

namespace weighting {

/// Refuses to compile, with one sentence, when P is no weighting policy. To be called by whatever
/// takes a policy.
template <class P>
consteval void require_policy() {
  constexpr bool has_kind = requires { typename P::weighting_kind; };
  static_assert(has_kind,
                "a weighting policy must declare `using weighting_kind = vierbein::loss_based;`, "
                "`gram_based`, `gradient_based`, `target_based` or `update_based`");
  if constexpr (has_kind) {
    using kind = typename P::weighting_kind;
    constexpr bool settled = std::is_same_v<kind, loss_based> || std::is_same_v<kind, gram_based> ||
                             std::is_same_v<kind, gradient_based> ||
                             std::is_same_v<kind, target_based> ||
                             std::is_same_v<kind, update_based>;
    static_assert(settled,
                  "weighting_kind must be vierbein::loss_based, gram_based, gradient_based, "
                  "target_based or update_based");
    static_assert(!std::is_same_v<kind, loss_based> || LossBasedWeighting<P>,
                  "a loss_based weighting policy must have the member "
                  "`void weigh(vierbein::losses, vierbein::weights)`");
    static_assert(!std::is_same_v<kind, gram_based> || GramBasedWeighting<P>,
                  "a gram_based weighting policy must have the member "
                  "`void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::weights)`");
    static_assert(!std::is_same_v<kind, gradient_based> || GradientBasedWeighting<P>,
                  "a gradient_based weighting policy must have the member `template "
                  "<vierbein::Scalar T> void combine(vierbein::losses, vierbein::matrix_view<const "
                  "T>, std::span<T>)`");
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
    static_assert(LooksAtFits<P>,
                  "`looks_at` of a weighting policy must be "
                  "`vierbein::sight looks_at(vierbein::losses) const`");
    static_assert(gram_batches<P> >= 1 && gram_batches<P> <= 3,
                  "`gram_batches` of a weighting policy must be 1, 2 or 3");
    static_assert(gram_batches<P> == 1 || std::is_same_v<kind, gram_based>,
                  "only a gram_based weighting policy can ask for `gram_batches`");
    static_assert(!std::is_same_v<kind, update_based> || !Observes<P>,
                  "an update_based weighting policy has no steps after which to call `observe`");
    static_assert(std::copy_constructible<P>, "a weighting policy must be copyable");
  }
}

}  // namespace weighting
}  // namespace vierbein
