// expect: the encoder must offer input_set and build(parameters&, name, shape)
// An encoder that builds nothing.
#include "vierbein/data/features.hpp"
#include "vierbein/model/multitask.hpp"

struct without_build {
  using input_set = vierbein::data::feature_set;
};

void check() {
  (void)vierbein::multitask(without_build{}, vierbein::tasks{vierbein::regression("a")});
}
