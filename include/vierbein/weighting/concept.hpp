// What a weighting policy must offer.
//
// A weighting policy says how much each task counts. It is a plain object with one verb and knows
// no backend, tape or model:
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
// Σ w_t ∇ℓ_t. Further members are called where a policy has them:
//     void reset(std::size_t tasks)                before training, with the number of tasks
//     void observe(vierbein::losses losses_after)  after a step, with the losses of the same batch
//     void end_epoch(std::span<const double> mean) after an epoch, with each task's mean loss
// Members need not be const: a policy may remember; then a copy remembers on its own.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>

#include "vierbein/core/view.hpp"

namespace vierbein {

// ---- kinds: what a policy needs to see

struct loss_based {};      ///< weigh(losses, weights)
struct gram_based {};      ///< weigh(losses, gram, weights); gram (T, T) holds ∇ℓ_s · ∇ℓ_t
struct gradient_based {};  ///< needs each task's gradient element by element
struct update_based {};    ///< compares parameter updates between epochs

/// The losses of one batch, one a task, in the order of the tasks. A task that has no label in the
/// batch is absent: its value is 0 and its weight has no effect.
struct losses {
  std::span<const double> values;      ///< (T), never NaN
  std::span<const bool> present = {};  ///< (T), or empty when all tasks are present

  [[nodiscard]] std::size_t size() const { return values.size(); }
  [[nodiscard]] double operator[](std::size_t task) const { return values[task]; }
  /// Whether the batch holds a label of this task.
  [[nodiscard]] bool has(std::size_t task) const { return present.empty() || present[task]; }
};

/// Where a policy writes its weights, (T).
using weights = std::span<double>;

/// The matrix of inner products of the tasks' gradients, (T, T).
using gram_matrix = matrix_view<const double>;

namespace weighting {

// A member that is there but cannot be called as it will be is a mistake, not another member.
template <class P>
concept ResetFits = !requires { &P::reset; } || requires(P& p, std::size_t n) { p.reset(n); };
template <class P>
concept ObserveFits = !requires { &P::observe; } || requires(P& p, losses l) { p.observe(l); };
template <class P>
concept EndEpochFits =
    !requires { &P::end_epoch; } || requires(P& p, std::span<const double> m) { p.end_epoch(m); };

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

/// A policy of a kind whose verb is settled. Those of the kinds gradient_based and update_based
/// come with their first policies.
template <class P>
concept WeightingPolicy =
    (LossBasedWeighting<P> || GramBasedWeighting<P>) && weighting::ResetFits<P> &&
    weighting::ObserveFits<P> && weighting::EndEpochFits<P> && std::copy_constructible<P>;

namespace weighting {

/// Refuses to compile, with one sentence, when P is no weighting policy. To be called by whatever
/// takes a policy.
template <class P>
consteval void require_policy() {
  constexpr bool has_kind = requires { typename P::weighting_kind; };
  static_assert(has_kind,
                "a weighting policy must declare `using weighting_kind = vierbein::loss_based;` or "
                "`vierbein::gram_based`");
  if constexpr (has_kind) {
    using kind = typename P::weighting_kind;
    constexpr bool settled = std::is_same_v<kind, loss_based> || std::is_same_v<kind, gram_based>;
    static_assert(settled, "weighting_kind must be vierbein::loss_based or vierbein::gram_based");
    static_assert(!std::is_same_v<kind, loss_based> || LossBasedWeighting<P>,
                  "a loss_based weighting policy must have the member "
                  "`void weigh(vierbein::losses, vierbein::weights)`");
    static_assert(!std::is_same_v<kind, gram_based> || GramBasedWeighting<P>,
                  "a gram_based weighting policy must have the member "
                  "`void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::weights)`");
    static_assert(ResetFits<P>, "`reset` of a weighting policy must be `void reset(std::size_t)`");
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
