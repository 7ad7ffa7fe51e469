// expect: only a gram_based weighting policy can ask for `gram_batches`
// A policy that asks for independent batches but looks at losses alone.
#include "vierbein/weighting/concept.hpp"

struct greedy {
  using weighting_kind = vierbein::loss_based;
  static constexpr std::size_t gram_batches = 2;
  void weigh(vierbein::losses, vierbein::weights) const {}
};

void check() {
  vierbein::weighting::require_policy<greedy>();
}
