// expect: a weighting policy must declare `using weighting_kind = vierbein::loss_based;`
// expect: `gram_based`, `gradient_based`, `target_based` or `update_based`
// A weighting policy that does not say what it needs to see.
#include "vierbein/weighting/concept.hpp"

struct without_kind {
  void weigh(vierbein::losses, vierbein::weights) const {}
};

void check() {
  vierbein::weighting::require_policy<without_kind>();
}
