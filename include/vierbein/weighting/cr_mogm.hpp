// Weights that change slowly, by the name of their paper.
#pragma once

#include "vierbein/weighting/moving_average.hpp"

namespace vierbein::weighting {

/// CR-MOGM (Zhou, Zhang, Jiang, Zhong, Gu and Zhu 2022) around any policy that answers weights:
///     λ_t = ρ λ_{t-1} + (1 - ρ) ŵ_t,   ρ = `memory` = 0.9,   λ_0 = ŵ_1 as in TorchJD.
///
///     cr_mogm<upgrad>{.policy = upgrad{}, .memory = 0.95}
template <class Policy>
using cr_mogm = moving_average<Policy>;

}  // namespace vierbein::weighting
