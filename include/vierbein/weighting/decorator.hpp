// What the policies that wrap another one share.
//
// A decorator has the wrapped policy in its member `policy`, is of the same kind, serves the same
// target, passes on every call (reset, observe, end_epoch) and asks the trainer for what that one
// asks for. It is an aggregate, so decorators compose by designated initialisers:
//
//     weighting::every{.policy = weighting::clip{.policy = weighting::upgrad{}, .norm = 1},
//                      .steps = 5}
#pragma once

#include <span>

#include "vierbein/weighting/concept.hpp"
#include "vierbein/weighting/traits.hpp"

namespace vierbein::weighting {

/// A policy that answers weights step by step.
template <class P>
concept StepWeighting = LossBasedWeighting<P> || GramBasedWeighting<P>;

/// A policy that wants each epoch's mean losses.
template <class P>
concept EndingEpochs = requires(P& p, std::span<const double> m) { p.end_epoch(m); };

/// What a policy claims of itself; of one that declares nothing not even that it is without memory.
template <class P>
weighting_traits traits_of(const P& policy) {
  if constexpr (HasTraits<P>) {
    return policy.traits();
  } else {
    return {.deterministic = false, .stateful = true};
  }
}

}  // namespace vierbein::weighting
