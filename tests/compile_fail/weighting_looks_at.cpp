// expect: `looks_at` of a weighting policy must be `vierbein::sight looks_at(
// A weighting policy whose `looks_at` would never be asked.
#include "vierbein/weighting/concept.hpp"

struct forgets_const {
  using weighting_kind = vierbein::gram_based;
  vierbein::sight looks_at(vierbein::losses) { return vierbein::sight::losses; }
  void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::weights) {}
};

void check() {
  vierbein::weighting::require_policy<forgets_const>();
}
