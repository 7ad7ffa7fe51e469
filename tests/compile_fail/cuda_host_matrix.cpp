// expect: device_space
// A matrix in host memory is no operand of the CUDA backend.
#include "vierbein/backend/cuda.hpp"

void clear(const vierbein::backend::cuda& backend, vierbein::matrix_view<float> x) {
  backend.fill(x, 0.0F);
}
