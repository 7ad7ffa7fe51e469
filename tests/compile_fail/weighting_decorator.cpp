// expect: every wraps a policy of the kind loss_based or gram_based
// A policy that plans rounds has no steps in between which its weights could stand.
#include "vierbein/weighting/alpha_vil.hpp"
#include "vierbein/weighting/every.hpp"

vierbein::weighting::every<vierbein::weighting::alpha_vil> policy;
