// expect: an optimizer must offer learning_rate, validate() and a nested
// An optimizer that remembers nothing, and cannot make a step.
#include "vierbein/vierbein.hpp"

struct without_state {
  double learning_rate = 1e-3;
  void validate() const {}
};

void check(const vierbein::data::dataset<vierbein::data::feature_set>& data) {
  auto model =
      vierbein::multitask(vierbein::encoder::mlp{}, vierbein::tasks{vierbein::regression("a")});
  vierbein::fit(vierbein::backend::cpu{}, model, data, {}, without_state{},
                vierbein::weighting::equal{});
}
