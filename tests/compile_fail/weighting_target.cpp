// expect: a target_based weighting policy must have the members `std::string target` and
// expect: `void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::step_oracle&
// A weighting policy that asks about a target but does not name one.
#include "vierbein/weighting/concept.hpp"

struct without_target {
  using weighting_kind = vierbein::target_based;
  void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::step_oracle&, vierbein::weights) {}
};

void check() {
  vierbein::weighting::require_policy<without_target>();
}
