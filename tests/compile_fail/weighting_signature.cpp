// expect: a loss_based weighting policy must have the member `void weigh(vierbein::losses
// A weighting policy whose verb has other arguments than its kind asks for.
#include "vierbein/weighting/concept.hpp"

struct one_number {
  using weighting_kind = vierbein::loss_based;
  double weigh(double loss) const { return 1 / loss; }
};

void check() {
  vierbein::weighting::require_policy<one_number>();
}
