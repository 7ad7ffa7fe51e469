// expect: check_weighting examines policies of the kinds loss_based, gram_based and gradient_based
// A policy that plans rounds needs more than losses and gradients.
#include "vierbein/testing/check_weighting.hpp"
#include "vierbein/weighting/alpha_vil.hpp"

bool check() {
  return static_cast<bool>(vierbein::testing::check_weighting(vierbein::weighting::alpha_vil{}));
}
