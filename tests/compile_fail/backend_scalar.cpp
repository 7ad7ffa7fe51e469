// expect: the backend computes with another scalar than the model has parameters
// A model of float parameters, trained by a backend that computes in double.
#include "vierbein/vierbein.hpp"

void check(const vierbein::data::dataset<vierbein::data::feature_set>& data) {
  auto model =
      vierbein::multitask(vierbein::encoder::mlp{}, vierbein::tasks{vierbein::regression("a")});
  vierbein::fit(vierbein::backend::cpu_double{}, model, data, {}, vierbein::optimizer::adam{},
                vierbein::weighting::equal{});
}
