// expect: an update_based weighting policy must have the members `std::string target`, `void plan(
// expect: `void combine(vierbein::update_oracle&, vierbein::weights)` and `void worth(
// A weighting policy that combines updates but does not say what is trained.
#include "vierbein/weighting/concept.hpp"

struct without_plan {
  using weighting_kind = vierbein::update_based;
  std::string target;
  void combine(vierbein::update_oracle&, vierbein::weights) {}
  void worth(vierbein::weights) const {}
};

void check() {
  vierbein::weighting::require_policy<without_plan>();
}
