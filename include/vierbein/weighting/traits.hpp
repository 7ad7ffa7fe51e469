// What a weighting policy claims about itself, in the words of mathematics: the conformance suite
// in testing/ holds it to every claim.
#pragma once

#include <concepts>
#include <optional>

namespace vierbein::weighting {

/// The length of d = Jᵀw where all T gradients are one g.
enum class weight_scale {
  mean,  ///< d = g: a learning rate means what it means for one task
  sum,   ///< d = T g, as with the plain sum of the losses
  other
};

/// Properties of a policy as it is configured. J (T, P) holds the tasks' gradients g_t by rows, w
/// is what the policy answers and d = A(J) = Jᵀw. What is not declared is not claimed. All of it is
/// about one call after `reset`, with every task present and the same losses (a policy that looks
/// at losses may say more in its own comment).
///
///     weighting_traits traits() const { return {.non_conflicting = true, .homogeneity = 1}; }
struct weighting_traits {
  /// No task's loss rises to first order: g_t · d ≥ 0 for every t.
  bool non_conflicting = false;
  /// The order of the tasks does not matter: A(ΠJ) = A(J) for every permutation Π of the rows.
  bool permutation_invariant = false;
  /// A task's say is proportional to the length of its gradient: c ↦ A(diag(c) J) is linear on
  /// c > 0. A policy that draws random numbers claims it for the same numbers in every call.
  bool linear_under_scaling = false;
  /// d = 0 only where J is strongly Pareto stationary: only where there is a v with v_t > 0 for
  /// every t and Jᵀv = 0. (d may be 0 at all such points or at none of them.)
  bool strongly_stationary = false;
  /// w ≥ 0 and Σ w_t = 1.
  bool convex_weights = false;
  /// No random numbers are drawn. A policy that draws some repeats them after `reset`.
  bool deterministic = true;
  /// An answer may depend on earlier calls since `reset`.
  bool stateful = false;
  /// k, where A(sJ) = s^k A(J) for every s > 0.
  std::optional<double> homogeneity = {};
  weight_scale scale = weight_scale::other;
};

/// A policy that declares its traits.
template <class P>
concept HasTraits = requires(const P& policy) {
  { policy.traits() } -> std::same_as<weighting_traits>;
};

}  // namespace vierbein::weighting
