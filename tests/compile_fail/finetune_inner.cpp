// expect: finetune_after needs an inner policy of the kind loss_based
// Fine-tuning after a policy of another kind.
#include "vierbein/weighting/finetune_after.hpp"

struct on_gradients {
  using weighting_kind = vierbein::gram_based;
  void weigh(vierbein::losses, vierbein::gram_matrix, vierbein::weights) {}
};

void check() {
  vierbein::weighting::finetune_after<on_gradients> policy;
  policy.epochs = 3;
}
