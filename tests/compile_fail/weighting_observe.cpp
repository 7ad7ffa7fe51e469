// expect: an update_based weighting policy has no steps after which to call `observe`
// A policy that chooses between rounds and yet wants to be told of steps.
#include "vierbein/weighting/alpha_vil.hpp"

struct curious : vierbein::weighting::alpha_vil {
  void observe(vierbein::losses) const {}
};

void check() {
  vierbein::weighting::require_policy<curious>();
}
