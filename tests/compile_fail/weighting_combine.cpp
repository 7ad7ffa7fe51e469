// expect: a gradient_based weighting policy must have the member `template <vierbein::Scalar T>
// void combine(vierbein::losses A policy that combines gradients of one type of number only.
#include "vierbein/weighting/concept.hpp"

struct doubles_only {
  using weighting_kind = vierbein::gradient_based;
  void combine(vierbein::losses, vierbein::matrix_view<const double>, std::span<double>) const {}
};

void check() {
  vierbein::weighting::require_policy<doubles_only>();
}
