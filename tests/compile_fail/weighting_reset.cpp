// expect: `reset` of a weighting policy must be `void reset(std::size_t)` or `void reset(const
// A weighting policy whose `reset` would never be called.
#include "vierbein/weighting/concept.hpp"

struct reset_by_list {
  using weighting_kind = vierbein::loss_based;
  void reset(std::vector<double>) {}
  void weigh(vierbein::losses, vierbein::weights) {}
};

void check() {
  vierbein::weighting::require_policy<reset_by_list>();
}
